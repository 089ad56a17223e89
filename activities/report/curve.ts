/** The training curve as it is drawn: one point a step, or a mean over steps where there are too many to see. */
import type { HistoryRecord } from '../../contracts/trainer.ts';

export interface TrainingCurve {
  /** In order of step. `loss` is a mean over the steps since the point before; `smoothed` a centred moving mean. */
  points: { step: number; loss: number; smoothed: number; learningRate: number }[];
  validation: { step: number; loss: number }[];
  /** Last step of each epoch but the last. */
  epochEnds: number[];
  /** Steps without an update, after a divergence. */
  leftOut: number[];
  /** Steps from which a later attempt went on. */
  restarts: number[];
  /** Steps that one point stands for. */
  stepsPerPoint: number;
}

const MOST_POINTS = 400;
/** The moving mean spans this share of the curve. */
const SMOOTHING_SHARE = 1 / 12;

/** A step that was written twice, before and after a resume, counts as it was written last. */
export function trainingCurve(history: readonly HistoryRecord[], restarts: readonly number[] = []): TrainingCurve {
  const steps = [...lastByStep(history.filter((record) => record.type === 'step'))];
  const validation = [...lastByStep(history.filter((record) => record.type === 'validation'))];
  const counted = steps.filter(({ leftOut }) => !leftOut);
  const losses = counted.map(({ loss }) => loss);
  const smoothed = movingMean(losses, Math.ceil(counted.length * SMOOTHING_SHARE));
  const stepsPerPoint = Math.max(1, Math.ceil(counted.length / MOST_POINTS));
  const points = [];
  for (let start = 0; start < counted.length; start += stepsPerPoint) {
    const end = Math.min(start + stepsPerPoint, counted.length);
    const last = counted[end - 1];
    if (!last) break;
    points.push({
      step: last.step,
      loss: mean(losses.slice(start, end)),
      smoothed: mean(smoothed.slice(start, end)),
      learningRate: last.learningRate,
    });
  }
  return {
    points,
    validation: validation.map(({ step, loss }) => ({ step, loss })),
    epochEnds: steps
      .filter((record, index) => (steps[index + 1]?.epoch ?? record.epoch) > record.epoch)
      .map((r) => r.step),
    leftOut: steps.filter(({ leftOut }) => leftOut).map(({ step }) => step),
    restarts: [...new Set(restarts)].sort((a, b) => a - b),
    stepsPerPoint,
  };
}

function lastByStep<Item extends { step: number }>(items: readonly Item[]): Item[] {
  return [...new Map(items.map((item) => [item.step, item])).values()].sort((a, b) => a.step - b.step);
}

/** Over `span` values round each, fewer at the ends. */
function movingMean(values: readonly number[], span: number): number[] {
  const sums = [0];
  for (const value of values) sums.push((sums.at(-1) as number) + value);
  return values.map((_, index) => {
    const start = Math.max(0, index - Math.floor(span / 2));
    const end = Math.min(values.length, index + Math.floor(span / 2) + 1);
    return ((sums[end] as number) - (sums[start] as number)) / (end - start);
  });
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
