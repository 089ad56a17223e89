/** Decides for one row whether it stays, and names the reason when it does not. */
import type { RejectReason } from '../../contracts/stages.ts';
import type { SplitRow } from '../parquet/split-row.ts';
import type { SplitName } from './lengths.ts';

export interface Limits {
  /** Longest training row, and all that a validation prompt and its answer may take together. */
  maxTokens: number;
  /** What evaluation generates after a validation prompt. */
  maxNewTokens: number;
}

export interface TokenCounts {
  prompt: number;
  /** With its end-of-text token. */
  response: number;
}

/** Null keeps the row. A missing reference only matters where answers are graded, which is the validation split. */
export function judge(split: SplitName, row: SplitRow, counts: TokenCounts, limits: Limits): RejectReason | null {
  if (row.prompt.at(-1)?.content.trim() === '' || row.response.trim() === '') return 'empty';
  if (split === 'validation' && row.reference.trim() === '') return 'unlabelled';
  return comparedTokens(split, counts, limits) > limits.maxTokens ? 'over-long' : null;
}

/**
 * What is held against maxTokens: the row in training. A validation question is answered by the model, so the length
 * of its own response does not count; its prompt has to leave room for the new tokens.
 */
export function comparedTokens(split: SplitName, { prompt, response }: TokenCounts, { maxNewTokens }: Limits): number {
  return split === 'train' ? prompt + response : prompt + maxNewTokens;
}
