/**
 * Faults in mid-training, on a real stack: whatever was killed, the run ends with the weights of an undisturbed one.
 * Each test asserts that its fault fired.
 */
import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { CACHE_MARK, killMarked, marked } from '../../activities/trainer/process-tree.ts';
import { startRun } from '../../cli/start.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import { eventSchema, type TrainerEvent } from '../../contracts/trainer.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';

const { skip } = python;
const timeout = 180_000;
const root = join(import.meta.dirname, '..', '..');
const STEPS = 50;
/** A checkpoint has been committed by then, and most of the training lies ahead. */
const FAULT_STEP = 12;

const spec: RunSpecInput = {
  model: { source: join(root, 'infra/demo/base') },
  dataset: { source: join(root, 'infra/demo/data/s1k-style.jsonl.gz') },
  filter: { maxTokens: 96 },
  train: {
    globalBatchSize: 8,
    microBatchSize: 8,
    maxSteps: STEPS,
    checkpointEverySteps: 5,
    activationCheckpointing: false,
  },
  eval: { maxSamples: 2, shardSize: 2, sampler: { maxNewTokens: 8, steps: 2 }, qualitativePrompts: [] },
  policy: { heartbeatTimeoutSeconds: 5 },
};

let stack: TestStack;
let undisturbed: RunResult;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(() => stack?.stop());

/** Every test trains anew: the store forgets the training, and keeps what comes before it. */
beforeEach(async () => {
  if (skip !== false) return;
  if (!stack.gpu.isRunning) await stack.startGpuWorker();
  const { storeDir, cacheDir } = stack;
  const folders = ['artifacts/train', 'checkpoints', 'attempts'].map((name) => join(storeDir, name));
  folders.push(join(cacheDir, 'training'), join(cacheDir, 'artifacts/train'));
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

let runs = 0;
const start = (): Promise<WorkflowHandle> => startRun({ client: stack.client, workflowId: `crash-${++runs}`, spec });

interface Training {
  folder: string;
  events: TrainerEvent[];
  /** The newest step done. */
  step: number;
}

/** Attempts at training whose folders are on this host, with what the trainer has told so far. */
async function trainings(): Promise<Training[]> {
  const found: Training[] = [];
  const root = join(stack.cacheDir, 'training');
  for (const key of await readdir(root).catch(() => [])) {
    for (const attempt of await readdir(join(root, key))) {
      if (attempt === 'checkpoints') continue;
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

const midway = (): Promise<Training> =>
  eventually(
    `step ${FAULT_STEP}`,
    async () => (await trainings()).find(({ step }) => step >= FAULT_STEP) ?? null,
    timeout / 2,
  );

interface AttemptRecord {
  attempt: number;
  fromStep: number;
  ended: { how: string; step: number | null } | null;
}

/** As the store has them, oldest first. */
async function attempts(): Promise<AttemptRecord[]> {
  const root = join(stack.storeDir, 'attempts');
  const [key = ''] = await readdir(root);
  const names = (await readdir(join(root, key))).sort();
  return Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(root, key, name), 'utf8')) as AttemptRecord),
  );
}

async function storedSteps(): Promise<number[]> {
  const names = await readdir(join(stack.storeDir, 'checkpoints'), { recursive: true });
  const steps = names.flatMap((name) => /step-(\d+)\/manifest\.json$/.exec(name)?.[1] ?? []).map(Number);
  return steps.sort((a, b) => a - b);
}

async function assertResumed(handle: WorkflowHandle, between: { from: number; to: number }): Promise<void> {
  const result = (await handle.result()) as RunResult;
  assert.equal(result.weightsSha256, undisturbed.weightsSha256);
  assert.equal(result.attempts, 2);
  const [first, second] = await attempts();
  assert.equal(first?.fromStep, 0);
  assert.ok(second && second.fromStep >= between.from && second.fromStep <= between.to, JSON.stringify(second));
  assert.equal(second.ended?.how, 'done');
  const { incidents } = await handle.query<RunStatus>('status');
  assert.deepEqual(incidents, [], 'a preemption is nothing to judge');
}

test('trains undisturbed in one attempt', { skip, timeout }, async () => {
  undisturbed = (await (await start()).result()) as RunResult;
  assert.equal(undisturbed.attempts, 1);
  assert.deepEqual(
    (await attempts()).map(({ fromStep, ended }) => [fromStep, ended?.how]),
    [[0, 'done']],
  );
});

test("resumes from the newest checkpoint after the trainer's process tree is killed", { skip, timeout }, async () => {
  const handle = await start();
  const { step } = await midway();
  const killed = await killMarked(CACHE_MARK, stack.cacheDir);
  assert.ok(killed >= 1);
  await assertResumed(handle, { from: 5, to: STEPS - 1 });
  assert.ok(((await attempts())[1]?.fromStep ?? 0) >= step - 10, `killed at ${step}`);
});

test('resumes on another worker after the GPU worker is killed', { skip, timeout }, async () => {
  const handle = await start();
  await midway();
  process.kill(stack.gpu.pid ?? 0, 'SIGKILL');
  await eventually('the trainer dies with its worker', async () => {
    return (await marked(CACHE_MARK, stack.cacheDir)).length === 0 ? true : null;
  });
  await stack.startGpuWorker();
  await assertResumed(handle, { from: 5, to: STEPS - 1 });
  assert.equal((await attempts())[0]?.ended, null, 'it died without a word');
});

test('loses no step when the GPU worker is told to stop', { skip, timeout }, async () => {
  const handle = await start();
  const { folder } = await midway();
  await stack.gpu.stop();
  const stopped = (await trainings()).find((training) => training.folder === folder);
  assert.ok(stopped && stopped.step < STEPS, 'stopped in mid-training');
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), []);
  assert.equal((await storedSteps()).at(-1), stopped.step, 'its last checkpoint is in the store');
  // Another host: only the store knows.
  await rm(join(stack.cacheDir, 'training'), { recursive: true });
  await stack.startGpuWorker();
  await assertResumed(handle, { from: stopped.step, to: stopped.step });
  assert.equal((await attempts())[0]?.ended?.step, stopped.step);
});

test('cancelled, stops within seconds and keeps its checkpoint for the next run', { skip, timeout }, async (t) => {
  const handle = await start();
  await midway();
  const cancelledMs = performance.now();
  await handle.cancel();
  await assert.rejects(handle.result(), (error) => {
    return error instanceof WorkflowFailedError && error.cause instanceof CancelledFailure;
  });
  const seconds = (performance.now() - cancelledMs) / 1000;
  t.diagnostic(`stopped ${seconds.toFixed(1)} s after the request`);
  assert.ok(seconds <= 20, `${seconds} s`);
  assert.equal((await handle.describe()).status.name, 'CANCELLED');
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), []);

  const kept = (await storedSteps()).at(-1) ?? 0;
  assert.ok(kept >= FAULT_STEP && kept < STEPS, `step ${kept}`);
  const next = (await (await start()).result()) as RunResult;
  assert.equal(next.weightsSha256, undisturbed.weightsSha256);
  assert.equal((await attempts())[1]?.fromStep, kept);
});
