/** What the last digits of a step depend on, of each attempt: a training may have gone on with other ranks. */
import type { Attempt } from '../../activities/train/attempts.ts';
import type { StepRun } from './choose-runs.ts';

export interface Setting {
  ranks: number;
  /** Whether ranks shared weights, whose gradients' norm they then sum in another order. */
  sharded: boolean;
  microBatchSize: number;
}

/**
 * The run as far as one setting reaches, and that setting: each step counts as made by the newest attempt that did it.
 * `otherwise` stands for steps of which no attempt tells.
 */
export function byOneSetting(
  { from, to }: StepRun,
  attempts: readonly Attempt[],
  otherwise: Setting,
): { run: StepRun; setting: Setting } {
  const setting = settingAt(from + 1, attempts, otherwise);
  let end = from + 1;
  while (end < to && isSame(settingAt(end + 1, attempts, otherwise), setting)) end++;
  return { run: { from, to: end }, setting };
}

function settingAt(step: number, attempts: readonly Attempt[], otherwise: Setting): Setting {
  const before = attempts.filter(({ fromStep }) => fromStep !== null && fromStep < step);
  // One that died may have done more than its record has heard of.
  const maker = before.findLast((attempt) => step <= attempt.step) ?? before.at(-1);
  const { ranks, sharded = false, microBatchSize } = maker?.setting ?? {};
  if (typeof ranks !== 'number' || typeof microBatchSize !== 'number') return otherwise;
  return { ranks, sharded: sharded === true, microBatchSize };
}

const isSame = (a: Setting, b: Setting): boolean =>
  a.ranks === b.ranks && a.sharded === b.sharded && a.microBatchSize === b.microBatchSize;
