/** Which stages a run would find finished in the store: the chain of keys, walked while artifacts are found. */
import type { Artifacts } from '../../activities/store/artifacts.ts';
import type { Transfer } from '../../activities/store/store.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import { convertKey, datasetKey, evalKey, filterKey, modelKey, trainKey } from '../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage, FilterSummary, PinnedSource, StageName } from '../../contracts/stages.ts';

export interface PlannedStage {
  name: StageName;
  /** Whether the store has its artifact, whole. What depends on a stage that would run has no key yet: it runs too. */
  cached: boolean;
}

export interface CachedStages {
  stages: PlannedStage[];
  /** Of a filter stage that is cached: its exact counts. */
  filter: FilterSummary | null;
}

interface WalkRequest {
  artifacts: Artifacts;
  spec: RunSpec;
  dataset: PinnedSource;
  model: PinnedSource;
  transfer: Transfer;
}

/** Reads the store only. */
export async function findCached({ artifacts, spec, dataset, model, transfer }: WalkRequest): Promise<CachedStages> {
  const stages: PlannedStage[] = [];
  let filter: FilterSummary | null = null;
  async function look(name: StageName, stage: ArtifactStage, key: string | null): Promise<ArtifactRef | null> {
    const manifest = key === null ? null : await artifacts.lookUp(stage, key, transfer);
    stages.push({ name, cached: manifest !== null });
    if (stage === 'filter' && manifest) filter = manifest.summary as FilterSummary;
    return manifest && artifacts.ref(manifest);
  }

  const data = await look('download dataset', 'dataset', datasetKey(dataset, spec.dataset.split));
  const base = await look('download model', 'model', modelKey(model));
  const converted = await look('convert', 'convert', data && convertKey(spec, data));
  const filtered = await look('filter', 'filter', converted && base && filterKey(spec, converted, base));
  const ready = filtered && base && { filtered, base };
  const tuned = await look('train', 'train', ready && trainKey(spec, ready.filtered, ready.base));
  await look('eval base', 'eval', ready && evalKey(spec, ready.filtered, ready.base));
  await look('eval tuned', 'eval', ready && tuned && evalKey(spec, ready.filtered, tuned));
  return { stages, filter };
}
