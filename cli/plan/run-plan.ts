/** What a run spec would do, as data: rows, ways of mapping, steps, memory, cached stages. Starts and stores nothing. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { trainTestSplit } from '../../activities/convert/train-test-split.ts';
import type { SourceDeps } from '../../activities/download/source-tree.ts';
import type { MappingPlan } from '../../activities/filter/plan.ts';
import { type DatasetPlan, planDataset } from '../../activities/filter/plan-dataset.ts';
import type { Artifacts } from '../../activities/store/artifacts.ts';
import { ModelTokenizer } from '../../activities/tokenizer.ts';
import { ReverieFailure } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { FilterSummary, PinnedSource } from '../../contracts/stages.ts';
import { type CachedStages, findCached, type PlannedStage } from './cached.ts';
import { type GpuChoice, type MemoryPlan, planMemory } from './memory-plan.ts';
import { lookAtLocalData, openSources } from './sources.ts';

export interface RunPlan {
  spec: RunSpec;
  /** What could not be looked at, and why; empty for a whole plan. */
  gaps: string[];
  /** Null where they could not be reached. */
  sources: { dataset: PinnedSource; model: PinnedSource } | null;
  data: DataPlan | null;
  /** The chosen way first. */
  mappings: MappingPlan[] | null;
  training: TrainingPlan | null;
  memory: MemoryPlan | null;
  /** Null where the store could not be read. */
  stages: PlannedStage[] | null;
}

export interface DataPlan {
  rows: number;
  /** Whether these are all rows: a plan looks at the first 20,000. */
  isWhole: boolean;
  columns: string[];
  train: number;
  validation: number;
}

export interface TrainingPlan {
  rows: number;
  /** False where rows are counted from a sample, or before anything is filtered. */
  isExact: boolean;
  stepsPerEpoch: number;
  steps: number;
}

export interface PlanRequest {
  spec: RunSpec;
  deps: SourceDeps & { artifacts: Artifacts };
  gpus: GpuChoice;
  /** With the trainer, whose planner tells of memory. */
  python: string;
  signal: AbortSignal;
}

/** Throws bad input as the run would. A Hub or a store that does not answer leaves a gap. */
export async function planRun({ spec, deps, gpus, python, signal }: PlanRequest): Promise<RunPlan> {
  const plan: RunPlan = {
    spec,
    gaps: [],
    sources: null,
    data: null,
    mappings: null,
    training: null,
    memory: null,
    stages: null,
  };
  const memory = (config: unknown) => planMemory({ spec, config, gpus, python, signal });
  const transfer = { signal };
  const scratch = join(deps.cacheDir, 'scratch', randomUUID());
  await mkdir(scratch, { recursive: true });
  try {
    const request = { spec, deps, scratch, transfer };
    const opened = await orGap(plan, openSources(request));
    if (opened === null) {
      plan.memory = await memory(null);
      const local = await lookAtLocalData(request);
      if (local === null) return plan;
      plan.data = dataPlan({ ...local, isWhole: true }, spec);
      plan.training = { isExact: false, ...stepsOf(spec, plan.data.train) };
      return plan;
    }
    const { dataset, model, datasetDir, modelDir, config } = opened;
    plan.sources = { dataset, model };
    plan.memory = await memory(config);
    const found = await orGap(plan, findCached({ artifacts: deps.artifacts, spec, dataset, model, transfer }));
    plan.stages = found?.stages ?? null;
    const tokenizer = await ModelTokenizer.load(modelDir);
    const counted = await planDataset({ from: datasetDir, spec, tokenizer, signal });
    plan.data = dataPlan(counted, spec);
    plan.mappings = counted.mappings;
    plan.training = trainingPlan(spec, counted, found);
    return plan;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function orGap<T>(plan: RunPlan, work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof ReverieFailure && error.type === 'StoreUnavailable')) throw error;
    plan.gaps.push(error.message);
    return null;
  }
}

function dataPlan({ rows, isWhole, columns }: Omit<DatasetPlan, 'mappings'>, { dataset }: RunSpec): DataPlan {
  const split = trainTestSplit(rows, dataset.validationFraction, dataset.splitSeed);
  return { rows, isWhole, columns, train: split.train.length, validation: split.validation.length };
}

function trainingPlan(spec: RunSpec, counted: DatasetPlan, found: CachedStages | null): TrainingPlan | null {
  const known = found?.filter ?? null;
  const chosen = counted.mappings.find((way) => way.chosen);
  if (!chosen) return null;
  const isExact = known !== null || (chosen.counted === chosen.rows && counted.isWhole);
  return { isExact, ...stepsOf(spec, keptRows(chosen, known)) };
}

/** From a sample, its share of all rows. */
function keptRows(chosen: MappingPlan, known: FilterSummary | null): number {
  return known?.train.kept ?? Math.round((chosen.train.kept * chosen.rows) / chosen.counted);
}

/** As the trainer counts: every row once an epoch, the last batch smaller. */
export function stepsOf({ train }: RunSpec, rows: number): Omit<TrainingPlan, 'isExact'> {
  const stepsPerEpoch = Math.ceil(rows / train.globalBatchSize);
  const steps = Math.min(train.epochs * stepsPerEpoch, train.maxSteps ?? Number.POSITIVE_INFINITY);
  return { rows, stepsPerEpoch, steps };
}
