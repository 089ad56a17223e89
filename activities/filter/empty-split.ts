/** Words for a split from which every row was removed: what was removed, why, and what would keep some. */
import type { RejectReason } from '../../contracts/stages.ts';
import type { Limits } from './judge.ts';
import { countAbove, type SplitName } from './lengths.ts';

export interface EmptySplit {
  split: SplitName;
  rejected: Partial<Record<RejectReason, number>>;
  /** Of the over-long rows: the tokens that were held against maxTokens. */
  overLong: readonly number[];
  limits: Limits;
}

/** The highest value of filter.maxTokens. */
const LARGEST_MAX_TOKENS = 131_072;

export function emptySplitProblem({ split, rejected, overLong, limits }: EmptySplit): string {
  const reasons = Object.entries(rejected).map(([reason, rows]) => `${rows} ${reason}`);
  const rows = Object.values(rejected).reduce((sum, count) => sum + count, 0);
  const remedies = [
    ...(overLong.length > 0 ? [...fits(overLong, limits.maxTokens), ...shorter(split)] : []),
    ...(rejected.empty ? ['map other columns to dataset.mapping.question and dataset.mapping.response'] : []),
    ...(rejected.unlabelled ? ['map the column of the answers to dataset.mapping.reference'] : []),
    ...(rows === 0 ? ['raise dataset.validationFraction'] : []),
  ];
  return `No ${split} row is left of ${rows} (${reasons.join(', ') || 'there was none'}); expected at least one; ${remedies.join(', or ')}.`;
}

/** How many rows would fit at which length: the first doubling that keeps any, and the length that keeps all. */
function fits(overLong: readonly number[], maxTokens: number): string[] {
  const fitting = (limit: number): number => overLong.length - countAbove(overLong, limit);
  let some = maxTokens * 2;
  while (some < LARGEST_MAX_TOKENS && fitting(some) === 0) some *= 2;
  const all = overLong.reduce((most, tokens) => Math.max(most, tokens), 0);
  const offers = [...new Set([Math.min(some, LARGEST_MAX_TOKENS), all])]
    .filter((limit) => limit <= LARGEST_MAX_TOKENS && fitting(limit) > 0)
    .sort((a, b) => a - b)
    .map((limit) => `${fitting(limit)} rows fit into ${limit}`);
  return offers.length > 0 ? [`raise filter.maxTokens from ${maxTokens} (${offers.join(', ')})`] : [];
}

const shorter = (split: SplitName): string[] =>
  split === 'train'
    ? ['map a shorter response (dataset.mapping.response, dataset.mapping.includeTrace none)']
    : ['lower eval.sampler.maxNewTokens'];
