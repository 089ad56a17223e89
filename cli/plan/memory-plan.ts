/** Whether a run's training fits into the GPUs given and into those of the walkthrough's table, by the trainer's own planner. */
import { execa } from 'execa';
import { z } from 'zod';
import { rejected } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import { recipes } from '../../contracts/trainer.ts';
import { trainerPath } from '../trainer-path.ts';

/** Null: none was named, and this host has none. */
export type GpuChoice = { count: number; memoryGib: number; from: 'options' | 'this host'; name?: string } | null;

const recipeSchema = z.object({
  recipe: z.enum(recipes),
  microBatchSize: z.int(),
  maxTokens: z.int(),
  activationCheckpointing: z.boolean(),
  isSharded: z.boolean(),
});
export type MemoryRecipe = z.infer<typeof recipeSchema>;

const hostSchema = z.object({
  gpus: z.int(),
  memoryGib: z.number().nullable(),
  gpu: z.string().nullable(),
  request: recipeSchema.describe('What was looked at: auto chooses by the memory.'),
  bytes: z.object({
    weights: z.int(),
    gradients: z.int(),
    moments: z.int(),
    gathered: z.int().describe('Of shards: what is whole at one time.'),
    castWeights: z.int(),
    activations: z.int(),
    logits: z.int(),
    total: z.int(),
  }),
  fits: z.boolean().nullable().describe('Null without GPUs.'),
  neededGib: z.int().describe('Of the smallest GPU that holds it.'),
  nearest: recipeSchema.nullable().describe('The nearest that fits; null where none does.'),
  tokensPerSecond: z.number().nullable().describe('Of the nearest, over all GPUs; null for GPUs not known.'),
  firstStep: z
    .object({
      weightsBytes: z.int(),
      checkpointBytes: z.int(),
      firstAttemptSeconds: z.number().describe('Compiles beside the download of the weights; in shards behind it.'),
      laterAttemptSeconds: z
        .number()
        .describe('Finds compiled kernels, and fetches a checkpoint; the weights as well for adapters.'),
      startSeconds: z.number().describe('Of the trainer, with all on the host.'),
    })
    .nullable()
    .describe('Of the nearest on a host that has nothing, at 10 Gbit/s; null without GPUs, and where nothing fits.'),
});
export type HostPlan = z.infer<typeof hostSchema>;
const answerSchema = z.object({ parameters: z.int(), hosts: z.array(hostSchema).min(1) });

export interface MemoryPlan {
  parameters: number;
  /** Where sizes come from: the model's config.json, or what is published of Dream 7B. */
  shapeFrom: 'config.json' | 'Dream 7B as published';
  gpus: GpuChoice;
  asked: HostPlan;
  /** Null where it fits, and where nothing is known of the GPUs. */
  advice: string | null;
  /** The hosts that the walkthrough names, two A100 of 40 GB, and one H100. */
  others: HostPlan[];
}

interface MemoryRequest {
  spec: RunSpec;
  /** config.json; null when it could not be read. */
  config: unknown;
  gpus: GpuChoice;
  python: string;
  signal: AbortSignal;
}

/** As CUDA tells them: a card sold with 24 GB has less for a program. */
const TABLE = [
  { gpus: 1, memoryGib: 23.5, gpu: 'RTX 4090' },
  { gpus: 2, memoryGib: 23.5, gpu: 'RTX 4090' },
  { gpus: 1, memoryGib: 39.4, gpu: 'A100' },
  { gpus: 2, memoryGib: 39.4, gpu: 'A100' },
  { gpus: 1, memoryGib: 79.1, gpu: 'H100' },
  { gpus: 8, memoryGib: 79.1, gpu: 'H100' },
];

/** Null for a model whose shape is not known. */
export async function planMemory({ spec, config, gpus, python, signal }: MemoryRequest): Promise<MemoryPlan | null> {
  if (config === null && !isDream7B(spec.model.source)) return null;
  const here = { gpus: gpus?.count ?? 1, memoryGib: gpus?.memoryGib ?? null, gpu: gpus?.name ?? null };
  const { train, filter } = spec;
  const input = JSON.stringify({
    config,
    recipe: train.recipe,
    loraRank: train.lora.rank,
    microBatchSize: train.microBatchSize,
    globalBatchSize: train.globalBatchSize,
    maxTokens: filter.maxTokens,
    activationCheckpointing: train.activationCheckpointing,
    activationBudget: train.activationBudget,
    compile: train.compile,
    sharding: train.sharding,
    hosts: [here, ...TABLE],
  });
  const env = trainerPath();
  const told = await execa(python, ['-m', 'dream_trainer', 'plan'], {
    input,
    env,
    cancelSignal: signal,
    reject: false,
  });
  if (told.exitCode === 2) throw rejected('InvalidSpec', told.stderr);
  if (told.failed) throw new Error(`${python} -m dream_trainer plan: ${told.stderr || told.shortMessage}`);
  const { parameters, hosts } = answerSchema.parse(JSON.parse(told.stdout));
  const [asked, ...others] = hosts as [HostPlan, ...HostPlan[]];
  const shapeFrom = config === null ? 'Dream 7B as published' : 'config.json';
  return { parameters, shapeFrom, gpus, asked, advice: asked.fits === false ? advise(asked) : null, others };
}

const isDream7B = (source: string): boolean => /^hf:\/\/Dream-org\/Dream-v0-(Base|Instruct)-7B(@|$)/.test(source);

function advise({ request, nearest, neededGib }: HostPlan): string {
  if (nearest === null)
    return `nothing fits, not even adapters with the shortest rows: use GPUs of at least ${neededGib} GiB for ${request.recipe}, or a smaller model`;
  const changes = [
    nearest.recipe !== request.recipe && `train.recipe ${nearest.recipe}`,
    nearest.isSharded !== request.isSharded && `train.sharding ${nearest.isSharded ? 'on' : 'off'}`,
    nearest.microBatchSize !== request.microBatchSize && `train.microBatchSize ${nearest.microBatchSize}`,
    nearest.activationCheckpointing !== request.activationCheckpointing && 'train.activationCheckpointing true',
    nearest.maxTokens !== request.maxTokens && `filter.maxTokens ${nearest.maxTokens}`,
  ].filter((change) => change !== false);
  return `set ${changes.join(' and ')}`;
}
