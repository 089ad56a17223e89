/** Puts the answers of base and tuned model to the same questions side by side. */
import { type PairedDifference, pairedDifference } from '../../contracts/statistics.ts';
import type { GradedPrediction } from './results.ts';

export interface AnswerPair {
  base: GradedPrediction;
  tuned: GradedPrediction;
}

/** Questions that both models answered, in order of row number; a question is the same by row number and id. */
export function pairAnswers(base: readonly GradedPrediction[], tuned: readonly GradedPrediction[]): AnswerPair[] {
  const byRow = new Map(base.map((row) => [`${row.index}:${row.id}`, row]));
  return tuned
    .flatMap((row) => {
      const other = byRow.get(`${row.index}:${row.id}`);
      return other ? [{ base: other, tuned: row }] : [];
    })
    .sort((a, b) => a.tuned.index - b.tuned.index);
}

/** In the order of telling; `ungradable` is what could not be graded for one of the two. */
export const pairOutcomes = ['only-tuned', 'only-base', 'both-correct', 'neither', 'ungradable'] as const;
export type PairOutcome = (typeof pairOutcomes)[number];

export function outcome({ base, tuned }: AnswerPair): PairOutcome {
  if (base.grade.verdict === 'ungradable' || tuned.grade.verdict === 'ungradable') return 'ungradable';
  const [baseRight, tunedRight] = [base.grade.verdict === 'correct', tuned.grade.verdict === 'correct'];
  if (baseRight && tunedRight) return 'both-correct';
  if (baseRight) return 'only-base';
  return tunedRight ? 'only-tuned' : 'neither';
}

export function countOutcomes(pairs: readonly AnswerPair[]): Record<PairOutcome, number> {
  const counts = { 'only-tuned': 0, 'only-base': 0, 'both-correct': 0, neither: 0, ungradable: 0 };
  for (const pair of pairs) counts[outcome(pair)] += 1;
  return counts;
}

/** Over the questions that could be graded for both models; null when there are none. */
export function comparePairs(pairs: readonly AnswerPair[]): PairedDifference | null {
  const counts = countOutcomes(pairs);
  return pairedDifference({
    bothCorrect: counts['both-correct'],
    onlyBaseCorrect: counts['only-base'],
    onlyTunedCorrect: counts['only-tuned'],
    neitherCorrect: counts.neither,
  });
}
