/** Measures in which order a diffusion model revealed its answers: from left to right, or otherwise. */
import { z } from 'zod';
import { ranks, spearman } from '../../contracts/statistics.ts';
import type { Prediction } from '../../contracts/trainer.ts';

/** Equal parts of an answer, from its beginning to its end, over which the order of revealing is averaged. */
export const POSITION_BINS = 10;

/** `reveal_order.json`. */
export const revealOrderSchema = z.strictObject({
  samples: z.int().min(0),
  endedShare: z.number().nullable().describe('Samples in which an end token was generated; null without samples.'),
  newTokensMean: z.number().nullable(),
  tokensPerStep: z
    .number()
    .nullable()
    .describe('Mean over samples of tokens ÷ steps that revealed at least one of them.'),
  leftToRight: z
    .number()
    .nullable()
    .describe(
      "Mean over samples of Spearman's correlation of position and reveal step: 1 is left to right, 0 no order.",
    ),
  rankByPosition: z
    .array(z.number().nullable())
    .describe('For each part of the answer, the mean rank of its tokens in the order of revealing, 0 first, 1 last.'),
});
export type RevealOrder = z.infer<typeof revealOrderSchema>;

/** Only validation rows count, and of those with fewer than two tokens only the lengths and the ends. */
export function measureRevealOrder(predictions: readonly Prediction[]): RevealOrder {
  const samples = predictions.filter(({ kind }) => kind === 'sample');
  const correlations = samples.map(({ revealSteps }) => spearman(positions(revealSteps), revealSteps));
  return {
    samples: samples.length,
    endedShare: mean(samples.map(({ ended }) => (ended ? 1 : 0))),
    newTokensMean: mean(samples.map(({ newTokens }) => newTokens)),
    tokensPerStep: mean(
      samples
        .filter(({ revealSteps }) => revealSteps.length > 0)
        .map(({ revealSteps }) => revealSteps.length / new Set(revealSteps).size),
    ),
    leftToRight: mean(correlations.filter((rho) => rho !== null)),
    rankByPosition: rankByPosition(samples),
  };
}

function rankByPosition(samples: readonly Prediction[]): (number | null)[] {
  const bins = Array.from({ length: POSITION_BINS }, () => ({ sum: 0, tokens: 0 }));
  for (const { revealSteps } of samples) {
    const count = revealSteps.length;
    if (count < 2) continue;
    for (const [position, rank] of ranks(revealSteps).entries()) {
      const bin = bins[Math.floor((position * POSITION_BINS) / count)];
      if (!bin) throw new RangeError(`position ${position} of ${count} lies in no part of the answer`);
      bin.sum += (rank - 1) / (count - 1);
      bin.tokens += 1;
    }
  }
  return bins.map(({ sum, tokens }) => (tokens === 0 ? null : sum / tokens));
}

const positions = (steps: readonly number[]): number[] => steps.map((_, position) => position);

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
