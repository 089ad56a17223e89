/** A prediction and a grade for tests, with the fields that matter to one given. */
import type { GradedPrediction } from '../../../../activities/eval/results.ts';
import type { Grade, Prediction } from '../../../../contracts/trainer.ts';

export function prediction(index: number, fields: Partial<Prediction> = {}): Prediction {
  return {
    kind: 'sample',
    index,
    id: `row-${index}`,
    prompt: [
      { role: 'system', content: 'Think.' },
      { role: 'user', content: `What is ${index} + 1?` },
    ],
    reference: String(index + 1),
    prediction: `\\boxed{${index + 1}}`,
    newTokens: 4,
    ended: true,
    revealSteps: [0, 1, 2, 3],
    ...fields,
  };
}

export const grade = (verdict: Grade['verdict']): Grade => ({
  verdict,
  extracted: verdict === 'ungradable' ? null : '7',
  reason: 'because',
});

export const graded = (
  index: number,
  verdict: Grade['verdict'],
  fields: Partial<Prediction> = {},
): GradedPrediction => ({
  ...prediction(index, fields),
  kind: 'sample',
  grade: grade(verdict),
});
