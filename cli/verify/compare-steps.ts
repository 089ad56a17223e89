/** Steps done once more against what the training wrote down of them. */
import { join } from 'node:path';
import { Damaged } from '../../activities/store/damaged.ts';
import { readHistory } from '../../activities/train/summary.ts';
import type { HistoryRecord } from '../../contracts/trainer.ts';
import { firstLine } from '../doctor/check.ts';

export type StepRecord = Extract<HistoryRecord, { type: 'step' }>;
/** What a step does, apart from the time that it takes. */
type Numbers = Pick<StepRecord, 'step' | 'loss' | 'gradNorm' | 'learningRate' | 'tokens' | 'maskedTokens' | 'leftOut'>;

export interface Comparison {
  /** Of loss and gradient norm, relative; 0 is equality to the bit. Infinite where the step was another one. */
  largestDifference: number;
  /** In words, of the first step that differs. */
  first: string | null;
}

/** Of the folder's history.jsonl. Throws Damaged. */
export async function readSteps(folder: string): Promise<StepRecord[]> {
  const history = await readHistory(join(folder, 'history.jsonl')).catch((error: unknown) => {
    throw new Damaged(`its history.jsonl is not one of this version (${firstLine(error)})`);
  });
  return history.filter((record) => record.type === 'step');
}

/** JSON gives back each float as it was, so that numbers that print alike are the same bits. */
export function compareSteps(again: readonly Numbers[], history: readonly StepRecord[]): Comparison {
  const then = new Map(history.map((record) => [record.step, record]));
  let largestDifference = 0;
  let first: string | null = null;
  for (const now of again) {
    const before = then.get(now.step);
    const [difference, words] = before ? stepDifference(now, before) : [Infinity, 'not in the history'];
    if (words === null) continue;
    first ??= `step ${now.step}: ${words}`;
    largestDifference = Math.max(largestDifference, difference);
  }
  return { largestDifference, first };
}

function stepDifference(now: Numbers, then: Numbers): [number, string | null] {
  for (const name of ['leftOut', 'learningRate', 'tokens', 'maskedTokens'] as const) {
    if (now[name] !== then[name]) return [Infinity, `${name} is ${now[name]}, was ${then[name]}`];
  }
  const measured = (['loss', 'gradNorm'] as const).map((name) => ({ name, relative: relative(now[name], then[name]) }));
  const worst = measured.reduce((a, b) => (b.relative > a.relative ? b : a));
  return worst.relative === 0
    ? [0, null]
    : [worst.relative, `${worst.name} is ${now[worst.name]}, was ${then[worst.name]}`];
}

const relative = (a: number, b: number): number => (a === b ? 0 : Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b)));
