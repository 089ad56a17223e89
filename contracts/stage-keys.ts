/** The key of each stage: SHA-256 of canonical JSON over its version, input digests and the parameters that matter. */
import { createHash } from 'node:crypto';
import { canonicalJson, type JsonValue } from './canonical-json.ts';
import type { RunSpec } from './run-spec.ts';
import { trainParameters } from './stage-parameters.ts';
import type { ArtifactRef, ArtifactStage, PinnedSource } from './stages.ts';

/** Raise a stage's version when its code would make other bytes from the same inputs. */
export const stageVersions: Record<ArtifactStage, number> = {
  dataset: 1,
  model: 1,
  convert: 1,
  filter: 1,
  train: 1,
  eval: 1,
  report: 1,
};

export function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

function stageKey(stage: ArtifactStage, inputs: Record<string, string>, parameters: JsonValue): string {
  return sha256(canonicalJson({ stage, version: stageVersions[stage], inputs, parameters }));
}

export const datasetKey = (pinned: PinnedSource, split: string): string =>
  stageKey('dataset', {}, { ...pinned, split });

export const modelKey = (pinned: PinnedSource): string => stageKey('model', {}, { ...pinned });

export function convertKey(spec: RunSpec, dataset: ArtifactRef): string {
  const { mapping, validationFraction, splitSeed } = spec.dataset;
  return stageKey('convert', { dataset: dataset.digest }, { mapping, validationFraction, splitSeed });
}

/** A validation prompt has to leave room for what evaluation generates, so that length decides here too. */
export const filterKey = (spec: RunSpec, converted: ArtifactRef, model: ArtifactRef): string =>
  stageKey(
    'filter',
    { converted: converted.digest, model: model.digest },
    { ...spec.filter, maxNewTokens: spec.eval.sampler.maxNewTokens },
  );

export const trainKey = (spec: RunSpec, filtered: ArtifactRef, model: ArtifactRef): string =>
  stageKey('train', { filtered: filtered.digest, model: model.digest }, trainParameters(spec));

export function evalKey(spec: RunSpec, filtered: ArtifactRef, model: ArtifactRef): string {
  return stageKey(
    'eval',
    { filtered: filtered.digest, model: model.digest },
    { ...spec.eval, maxTokens: spec.filter.maxTokens },
  );
}
