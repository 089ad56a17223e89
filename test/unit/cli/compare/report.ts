/** The part of a report.json that a comparison reads. */
import type { FinishedRun } from '../../../../cli/compare/finished-run.ts';
import { samplerSchema } from '../../../../contracts/trainer.ts';

const hash = (digit: string): string => digit.repeat(64);

export function reportFacts(sampler: object = {}): FinishedRun {
  return {
    spec: {
      dataset: { mapping: { systemPrompt: 'Be brief.' } },
      eval: { sampler: samplerSchema.parse(sampler), seed: 7, recipe: 'fp32', threads: null },
    },
    artifacts: {
      model: { stage: 'model', key: hash('1'), digest: hash('2') },
      train: { stage: 'train', key: hash('3'), digest: hash('4') },
    },
  };
}
