/** A small training on a real stack, as its folders, the store and Temporal tell of it. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import { eventSchema, type TrainerEvent } from '../../contracts/trainer.ts';
import type { TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';

const root = join(import.meta.dirname, '..', '..');

/** The demo's model and data, on short rows. */
export const smallSpec = (steps: number, heartbeatTimeoutSeconds = 5): RunSpecInput => ({
  model: { source: join(root, 'infra/demo/base') },
  dataset: { source: join(root, 'infra/demo/data/s1k-style.jsonl.gz') },
  filter: { maxTokens: 96 },
  train: {
    globalBatchSize: 8,
    microBatchSize: 8,
    maxSteps: steps,
    checkpointEverySteps: 5,
    activationCheckpointing: false,
  },
  eval: { maxSamples: 2, shardSize: 2, sampler: { maxNewTokens: 8, steps: 2 }, qualitativePrompts: [] },
  policy: { heartbeatTimeoutSeconds },
});

/** The store forgets the training and keeps what comes before it, so that the next run trains anew. */
export async function forgetTraining({ storeDir, cacheDir }: TestStack): Promise<void> {
  const folders = ['artifacts/train', 'checkpoints', 'attempts'].map((name) => join(storeDir, name));
  folders.push(join(cacheDir, 'training'), join(cacheDir, 'artifacts/train'));
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}

export interface Training {
  folder: string;
  events: TrainerEvent[];
  /** The newest step done. */
  step: number;
}

/** Attempts at training whose folders are on this host, oldest first, with what the trainer has told so far. */
export async function trainings(cacheDir: string): Promise<Training[]> {
  const found: Training[] = [];
  const root = join(cacheDir, 'training');
  for (const key of await readdir(root).catch(() => [])) {
    for (const attempt of (await readdir(join(root, key))).sort()) {
      const folder = join(root, key, attempt);
      const text = await readFile(join(folder, 'events.jsonl'), 'utf8').catch(() => '');
      const lines = text.split('\n').slice(0, -1);
      const events = lines.map((line) => eventSchema.parse(JSON.parse(line)));
      const step = Math.max(0, ...events.map((event) => (event.type === 'step' ? event.step : 0)));
      found.push({ folder, events, step });
    }
  }
  return found;
}

/** The newest attempt, once it has done `step`. */
export const trainedTo = (cacheDir: string, step: number): Promise<Training> =>
  eventually(`step ${step}`, async () => (await trainings(cacheDir)).find((at) => at.step >= step) ?? null, 90_000);

interface AttemptRecord {
  workflowId: string;
  startedAt: string;
  attempt: number;
  /** Among all attempts at the training. */
  number: number;
  /** Null until it has looked for a checkpoint. */
  fromStep: number | null;
  /** The newest step done. */
  step: number;
  ended: { at: string; how: string; step: number | null } | null;
}

/** As the store has them, in order of their numbers. */
export async function attemptRecords({ storeDir }: Pick<TestStack, 'storeDir'>): Promise<AttemptRecord[]> {
  const root = join(storeDir, 'attempts');
  const [key = ''] = await readdir(root);
  const names = await readdir(join(root, key));
  const records = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(root, key, name), 'utf8')) as AttemptRecord),
  );
  return records.sort((a, b) => a.number - b.number);
}

export async function storedSteps({ storeDir }: Pick<TestStack, 'storeDir'>): Promise<number[]> {
  const names = await readdir(join(storeDir, 'checkpoints'), { recursive: true }).catch(() => []);
  const steps = names.flatMap((name) => /step-(\d+)\/manifest\.json$/.exec(name)?.[1] ?? []).map(Number);
  return steps.sort((a, b) => a - b);
}
