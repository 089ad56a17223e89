/** Lengths of rows in tokens, as lengths.json states them: description, histogram, rows above each threshold. */
import type { Describe } from '../../contracts/stages.ts';
import { describe } from '../describe.ts';

export const splitNames = ['train', 'validation'] as const;
export type SplitName = (typeof splitNames)[number];

/** Rows of `from` to `to` tokens, both included. */
export interface LengthBin {
  from: number;
  to: number;
  rows: number;
}

/** `lengths.json`: lengths in tokens of whole rows (prompt, response and end) before anything is removed. */
export interface Lengths {
  maxTokens: number;
  describe: Describe;
  bins: LengthBin[];
  /** Rows longer than each threshold. */
  thresholds: { threshold: number; rows: number }[];
  prompt: Describe;
  /** With its end-of-text token. */
  response: Describe;
  /** In the same bins. */
  perSplit: Record<SplitName, { describe: Describe | null; bins: LengthBin[] }>;
}

/** Tokens of each row of a split. */
export interface SplitLengths {
  prompt: number[];
  response: number[];
}

const MOST_BINS = 64;

/** At least one row in all. */
export function measureLengths(
  splits: Record<SplitName, SplitLengths>,
  maxTokens: number,
  thresholds: readonly number[],
): Lengths {
  const { train, validation } = splits;
  const all = [...rowLengths(train), ...rowLengths(validation)];
  const longest = all.reduce((most, length) => Math.max(most, length), 1);
  const side = (split: SplitLengths) => {
    const lengths = rowLengths(split);
    return { describe: describe(lengths), bins: histogram(lengths, longest) };
  };
  return {
    maxTokens,
    describe: describe(all) as Describe,
    bins: histogram(all, longest),
    thresholds: thresholds.map((threshold) => ({ threshold, rows: countAbove(all, threshold) })),
    prompt: describe([...train.prompt, ...validation.prompt]) as Describe,
    response: describe([...train.response, ...validation.response]) as Describe,
    perSplit: { train: side(train), validation: side(validation) },
  };
}

export const rowLengths = ({ prompt, response }: SplitLengths): number[] =>
  prompt.map((tokens, row) => tokens + (response[row] as number));

export const countAbove = (lengths: readonly number[], limit: number): number =>
  lengths.reduce((count, length) => count + (length > limit ? 1 : 0), 0);

/** Bins as wide as a power of two, so that limits such as 1,024 and 2,048 fall between two of them. */
function histogram(lengths: readonly number[], longest: number): LengthBin[] {
  let width = 1;
  while (width * MOST_BINS < longest) width *= 2;
  const counts = new Array<number>(Math.ceil(longest / width)).fill(0);
  for (const length of lengths) {
    const bin = Math.ceil(length / width) - 1;
    counts[bin] = (counts[bin] as number) + 1;
  }
  return counts.map((rows, bin) => ({ from: bin * width + 1, to: (bin + 1) * width, rows }));
}
