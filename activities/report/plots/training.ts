/** Charts of the training: the loss by step, and the learning rate under it. */
import type { Spending } from '../../../contracts/ledger.ts';
import type { ReportFacts } from '../facts.ts';
import type { GoodputFacts } from '../goodput.ts';
import type { Messages } from '../messages/catalogue.ts';
import { ink } from '../palette.ts';
import { type Chart, ticks } from './draw.ts';

const HEIGHT = 240;

type Curve = ReportFacts['curve'];
type Words = Messages['plots'];

const stepAxis = (words: Words, width: number) => ({
  field: 'step',
  type: 'quantitative',
  title: words.step,
  scale: { nice: false, zero: false },
  axis: { grid: false, tickMinStep: 1, format: ',d', tickCount: ticks(width, 10, 5) },
});

/**
 * Faint each step, strong their moving mean, dotted the ends of epochs, a cross where no update was made, a triangle
 * where a later attempt went on.
 */
export const curveChart =
  ({ points, validation, epochEnds, leftOut, restarts }: Curve, words: Words): Chart =>
  (width) => {
    const x = stepAxis(words, width);
    const y = {
      field: 'loss',
      type: 'quantitative',
      title: words.loss,
      scale: { zero: false },
      axis: { tickCount: 6 },
    };
    const color = {
      field: 'series',
      type: 'nominal',
      scale: {
        domain: [words.eachStep, words.movingMean, words.validation],
        range: [ink.faint, ink.tuned, ink.accent],
      },
    };
    const line = (field: 'loss' | 'smoothed', series: string, strokeWidth: number) => ({
      data: { values: points.map((point) => ({ step: point.step, loss: point[field], series })) },
      mark: { type: 'line', strokeWidth },
      encoding: { x, y, color },
    });
    return {
      width,
      height: HEIGHT,
      layer: [
        {
          data: { values: epochEnds.map((step) => ({ step: step + 0.5 })) },
          mark: { type: 'rule', strokeDash: [2, 4], color: ink.base },
          encoding: { x },
        },
        line('loss', words.eachStep, 1.25),
        line('smoothed', words.movingMean, 2.5),
        {
          data: { values: validation.map((point) => ({ ...point, series: words.validation })) },
          mark: { type: 'line', strokeWidth: 1.5, strokeDash: [4, 3], point: { size: 60, filled: true } },
          encoding: { x, y, color },
        },
        {
          data: { values: leftOut.map((step) => ({ step })) },
          mark: { type: 'point', shape: 'cross', size: 60, filled: true, angle: 45, opacity: 1, color: ink.bad },
          encoding: { x, y: { value: HEIGHT - 6 } },
        },
        {
          data: { values: restarts.map((step) => ({ step: step + 0.5 })) },
          mark: { type: 'point', shape: 'triangle-right', size: 70, filled: true, opacity: 1, color: ink.good },
          encoding: { x, y: { value: HEIGHT - 6 } },
        },
      ],
    };
  };

/** One bar: the training's wall time by what it went into. */
export const goodputChart =
  ({ parts }: GoodputFacts, words: Words): Chart =>
  (width) => ({
    width,
    height: 28,
    data: { values: parts.map(({ spending, share }, order) => ({ what: words.spending[spending], share, order })) },
    mark: { type: 'bar' },
    encoding: {
      x: {
        field: 'share',
        type: 'quantitative',
        stack: 'normalize',
        title: null,
        axis: { format: '.0%', tickCount: 5 },
      },
      order: { field: 'order', type: 'quantitative' },
      color: {
        field: 'what',
        type: 'nominal',
        scale: {
          domain: parts.map(({ spending }) => words.spending[spending]),
          range: parts.map(({ spending }) => spendingInk[spending]),
        },
        legend: { columns: ticks(width, 5, 2), symbolType: 'square' },
      },
    },
  });

/** Blue where training came forward; what is lost to failures is red and orange. */
const spendingInk: Record<Spending, string> = {
  productive: ink.tuned,
  validation: ink.faint,
  replayed: ink.accent,
  lost: ink.bad,
  saving: ink.good,
  starting: ink.base,
  waitingForData: ink.text,
  finishing: ink.rule,
  waitingForHost: ink.quiet,
};

export const learningRateChart =
  ({ points }: Curve, words: Words): Chart =>
  (width) => ({
    width,
    height: 64,
    data: { values: points.map(({ step, learningRate: rate }) => ({ step, rate })) },
    mark: { type: 'area', line: { color: ink.quiet, strokeWidth: 1.5 }, color: ink.faint, fillOpacity: 0.35 },
    encoding: {
      x: stepAxis(words, width),
      y: { field: 'rate', type: 'quantitative', title: words.learningRate, axis: { tickCount: 2, format: '~e' } },
    },
  });
