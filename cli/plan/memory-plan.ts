/** Whether a run's training fits into the GPUs given, and the nearest change that would make it fit. */
import {
  DREAM_7B,
  estimateMemory,
  fits,
  type MemoryEstimate,
  type MemoryRecipe,
  type ModelShape,
  nearestFit,
  neededGib,
  parameterCount,
} from '../../contracts/memory.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';

/** Null: none was named, and this host has none. */
export type GpuChoice = { count: number; memoryGib: number; from: 'options' | 'this host' } | null;

export interface MemoryPlan {
  parameters: number;
  /** Where sizes come from: the model's config.json, or what is published of Dream 7B. */
  shapeFrom: 'config.json' | 'Dream 7B as published';
  recipe: MemoryRecipe;
  /** Bytes on each GPU. */
  bytes: MemoryEstimate;
  gpus: GpuChoice;
  /** Null without GPUs. */
  fits: boolean | null;
  /** Null where it fits, and where nothing is known of the GPUs. */
  advice: string | null;
}

interface MemoryRequest {
  spec: RunSpec;
  /** Null when config.json could not be read. */
  shape: ModelShape | null;
  gpus: GpuChoice;
}

/** Null for a model whose shape is not known. */
export function planMemory({ spec, shape, gpus }: MemoryRequest): MemoryPlan | null {
  const known = shape ?? (isDream7B(spec.model.source) ? DREAM_7B : null);
  if (known === null) return null;
  const recipe = recipeOf(spec, gpus?.count ?? 1);
  const bytes = estimateMemory(known, recipe);
  const fit = gpus && fits(bytes, gpus.memoryGib);
  return {
    parameters: parameterCount(known),
    shapeFrom: shape ? 'config.json' : 'Dream 7B as published',
    recipe,
    bytes,
    gpus,
    fits: fit,
    advice: gpus && !fit ? advise(known, recipe, gpus.memoryGib) : null,
  };
}

const isDream7B = (source: string): boolean => /^hf:\/\/Dream-org\/Dream-v0-(Base|Instruct)-7B(@|$)/.test(source);

function recipeOf({ train, filter }: RunSpec, gpus: number): MemoryRecipe {
  return {
    // auto takes autocast on CUDA, and this is about GPUs.
    recipe: train.recipe === 'fp32' ? 'fp32' : 'autocast',
    // A rank has no more rows of a step than its share of the global batch.
    microBatchSize: Math.min(train.microBatchSize, Math.ceil(train.globalBatchSize / gpus)),
    maxTokens: filter.maxTokens,
    activationCheckpointing: train.activationCheckpointing,
  };
}

function advise(shape: ModelShape, wanted: MemoryRecipe, gpuMemoryGib: number): string {
  const near = nearestFit(shape, wanted, gpuMemoryGib);
  if (near) {
    const changes = [
      near.microBatchSize !== wanted.microBatchSize && `train.microBatchSize ${near.microBatchSize}`,
      near.activationCheckpointing !== wanted.activationCheckpointing && 'train.activationCheckpointing true',
      near.maxTokens !== wanted.maxTokens && `filter.maxTokens ${near.maxTokens}`,
    ].filter((change) => change !== false);
    return `set ${changes.join(' and ')}`;
  }
  const least = estimateMemory(shape, { ...wanted, microBatchSize: 1, activationCheckpointing: true });
  return `no micro-batch helps: each GPU holds all weights, gradients and Adam states; use GPUs of at least ${neededGib(least)} GiB (micro-batch 1, activations recomputed), or a smaller model`;
}
