/** Charts of the evaluation: accuracies and their difference with intervals, and the order of revealing. */
import type { Interval } from '../../../contracts/statistics.ts';
import type { ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { ink } from '../palette.ts';
import { type Chart, ticks } from './draw.ts';

type Words = Messages['plots'];

/** Room for the longest row label, so that both panels share their left edge. */
const LABEL_WIDTH = 70;
/** The difference is drawn on a scale of at least this many points to either side. */
const LEAST_REACH = 10;

interface Dot {
  name: string;
  color: string;
  at: number;
  low: number;
  high: number;
}

export const accuracyChart =
  ({ accuracy, difference }: Pick<ReportFacts, 'accuracy' | 'difference'>, words: Words): Chart =>
  (width) => {
    const rates = (['base', 'tuned'] as const).flatMap((which) =>
      dot(words[which], ink[which], accuracy[which].accuracy, accuracy[which].interval),
    );
    const gains = dot(words.difference, ink.accent, difference?.gain ?? null, difference?.interval ?? null);
    const reach = 1.08 * Math.max(LEAST_REACH, ...gains.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]));
    const area = width - LABEL_WIDTH + 40;
    return {
      vconcat: [
        panel({ dots: rates, rows: [words.base, words.tuned], title: words.accuracy, domain: [0, 100], width: area }),
        panel({
          dots: gains,
          rows: [words.difference],
          title: words.gain,
          domain: [-reach, reach],
          width: area,
          reference: 0,
        }),
      ],
      spacing: 18,
    };
  };

function dot(name: string, color: string, share: number | null, interval: Interval | null): Dot[] {
  if (share === null || interval === null) return [];
  return [{ name, color, at: 100 * share, low: 100 * interval.low, high: 100 * interval.high }];
}

interface Panel {
  dots: Dot[];
  rows: string[];
  title: string;
  domain: [number, number];
  width: number;
  reference?: number;
}

/** Points with their intervals, a row each. */
function panel({ dots, rows, title, domain, width, reference }: Panel): object {
  const x = { type: 'quantitative', title, scale: { domain, nice: false }, axis: { tickCount: ticks(width, 10, 5) } };
  const y = {
    field: 'name',
    type: 'nominal',
    title: null,
    scale: { domain: rows },
    axis: { labelColor: ink.text, labelFontSize: 13, grid: false, minExtent: LABEL_WIDTH },
  };
  const color = { field: 'color', type: 'nominal', scale: null, legend: null };
  const rule = {
    data: { values: reference === undefined ? [] : [{ at: reference }] },
    mark: { type: 'rule', color: ink.quiet },
    encoding: { x: { field: 'at', ...x } },
  };
  return {
    width,
    height: 38 * rows.length,
    data: { values: dots },
    layer: [
      rule,
      {
        mark: { type: 'rule', strokeWidth: 6, strokeCap: 'round', opacity: 0.3 },
        encoding: { x: { field: 'low', ...x }, x2: { field: 'high' }, y, color },
      },
      {
        mark: { type: 'point', filled: true, size: 130, opacity: 1 },
        encoding: { x: { field: 'at', ...x }, y, color },
      },
    ],
  };
}

/** On the dotted diagonal a model writes from left to right. */
export const orderChart =
  (revealOrder: ReportFacts['revealOrder'], words: Words): Chart =>
  (width) => {
    const values = (['base', 'tuned'] as const).flatMap((which) =>
      revealOrder[which].rankByPosition.flatMap((rank, index, all) =>
        rank === null ? [] : [{ position: (100 * (index + 0.5)) / all.length, rank, model: words[which] }],
      ),
    );
    const x = {
      field: 'position',
      type: 'quantitative',
      title: words.position,
      scale: { domain: [0, 100] },
      axis: { grid: false, tickCount: 5, labelExpr: "datum.value + ' %'" },
    };
    const y = {
      field: 'rank',
      type: 'quantitative',
      title: words.order,
      scale: { domain: [0, 1] },
      axis: { tickCount: 5 },
    };
    const diagonal = [
      { position: 0, rank: 0 },
      { position: 100, rank: 1 },
    ];
    return {
      width,
      height: 200,
      layer: [
        {
          data: { values: diagonal },
          mark: { type: 'line', strokeDash: [2, 4], color: ink.quiet, strokeWidth: 1.25 },
          encoding: { x, y },
        },
        {
          data: { values },
          mark: { type: 'line', strokeWidth: 2.25, point: { size: 46, filled: true } },
          encoding: {
            x,
            y,
            color: {
              field: 'model',
              type: 'nominal',
              scale: { domain: [words.base, words.tuned], range: [ink.base, ink.tuned] },
            },
          },
        },
      ],
    };
  };
