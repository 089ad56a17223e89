/** Where a run departs from the letter of the public walkthrough, as its spec tells. */
import { QUALITATIVE_PROMPTS, type RunSpec } from '../../contracts/run-spec.ts';

/** Departures with a reason of their own; the texts are in the message catalogues. */
export const departureIds = [
  'own-trainer',
  'response-column',
  'filtered-rows',
  'global-batch',
  'kept-eos',
  'global-normalisation',
  'seeded',
  'checkpoints',
  'exported-model',
  'prompt-as-trained',
  'no-top-k',
  'ungradable',
] as const;
export type DepartureId = (typeof departureIds)[number];

export interface ChangedValue {
  /** Path in the run spec. */
  field: string;
  guide: string;
  ours: string;
}

/** Whether each departure holds for this spec; those without a condition hold for every run. */
const holds: Record<DepartureId, (spec: RunSpec) => boolean> = {
  'own-trainer': () => true,
  'response-column': ({ dataset: { mapping } }) => mapping.preset !== 'generic' || mapping.response !== null,
  'filtered-rows': () => true,
  'global-batch': ({ train }) => train.globalBatchSize !== 256,
  'kept-eos': ({ train: { objective } }) => objective.cutoff !== 'none' && objective.keepEos,
  'global-normalisation': ({ train }) => train.objective.normalisation === 'global',
  seeded: () => true,
  checkpoints: () => true,
  'exported-model': () => true,
  'prompt-as-trained': ({ dataset, eval: { promptStyle } }) =>
    promptStyle === 'as-trained' && dataset.mapping.systemPrompt !== null,
  'no-top-k': ({ eval: { sampler } }) => sampler.topK !== 50,
  ungradable: () => true,
};

export const departures = (spec: RunSpec): DepartureId[] => departureIds.filter((id) => holds[id](spec));

/** The walkthrough's values, of those that a spec can set. The global batch has its own entry above. */
const guideValues: readonly [field: string, guide: unknown, ours: (spec: RunSpec) => unknown][] = [
  ['model.source', 'hf://Dream-org/Dream-v0-Base-7B', (spec) => spec.model.source],
  ['dataset.source', 'hf://simplescaling/s1K-1.1', (spec) => spec.dataset.source],
  ['dataset.validationFraction', 0.1, (spec) => spec.dataset.validationFraction],
  ['dataset.splitSeed', 42, (spec) => spec.dataset.splitSeed],
  ['filter.maxTokens', 2048, (spec) => spec.filter.maxTokens],
  ['train.epochs', 3, (spec) => spec.train.epochs],
  ['train.maxSteps', null, (spec) => spec.train.maxSteps],
  ['train.microBatchSize', 4, (spec) => spec.train.microBatchSize],
  ['train.activationCheckpointing', true, (spec) => spec.train.activationCheckpointing],
  ['train.objective.weighting', 'cart', (spec) => spec.train.objective.weighting],
  ['train.objective.cutoff', 'random_with_input_pad', (spec) => spec.train.objective.cutoff],
  ['train.optimizer.learningRate', 2e-6, (spec) => spec.train.optimizer.learningRate],
  ['eval.maxSamples', null, (spec) => spec.eval.maxSamples],
  ['eval.sampler.algorithm', 'entropy', (spec) => spec.eval.sampler.algorithm],
  ['eval.sampler.maxNewTokens', 512, (spec) => spec.eval.sampler.maxNewTokens],
  ['eval.sampler.steps', 256, (spec) => spec.eval.sampler.steps],
  ['eval.sampler.temperature', 0.2, (spec) => spec.eval.sampler.temperature],
  ['eval.qualitativePrompts', QUALITATIVE_PROMPTS, (spec) => spec.eval.qualitativePrompts],
];

export function changedValues(spec: RunSpec): ChangedValue[] {
  return guideValues
    .map(([field, guide, ours]) => ({ field, guide: shown(guide), ours: shown(ours(spec)) }))
    .filter(({ guide, ours }) => guide !== ours);
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
