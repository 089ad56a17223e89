/**
 * Faults in mid-training, on a real stack: whatever was killed, the run ends with the weights of an undisturbed one.
 * Each test asserts that its fault fired.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { CACHE_MARK, killMarked, marked } from '../../activities/trainer/process-tree.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';
import {
  attemptRecords,
  forgetTraining,
  smallSpec,
  storedSteps,
  type Training,
  trainedTo,
  trainings,
} from './trainings.ts';

const { skip } = python;
const timeout = 180_000;
const STEPS = 50;
/** A checkpoint has been committed by then, and most of the training lies ahead. */
const FAULT_STEP = 12;
const spec = smallSpec(STEPS);

let stack: TestStack;
let undisturbed: RunResult;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(() => stack?.stop());

/** Every test trains anew. */
beforeEach(async () => {
  if (skip !== false) return;
  if (!stack.gpu.isRunning) await stack.startGpuWorker();
  await forgetTraining(stack);
});

let runs = 0;
const start = (): Promise<WorkflowHandle> => startRun({ client: stack.client, workflowId: `crash-${++runs}`, spec });

const midway = (): Promise<Training> => trainedTo(stack.cacheDir, FAULT_STEP);
const attempts = () => attemptRecords(stack);

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
  const stopped = (await trainings(stack.cacheDir)).find((training) => training.folder === folder);
  assert.ok(stopped && stopped.step < STEPS, 'stopped in mid-training');
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), []);
  assert.equal((await storedSteps(stack)).at(-1), stopped.step, 'its last checkpoint is in the store');
  // Another host: only the store knows.
  await rm(join(stack.cacheDir, 'training'), { recursive: true });
  await stack.startGpuWorker();
  await assertResumed(handle, { from: stopped.step, to: stopped.step });
  assert.equal((await attempts())[0]?.ended?.step, stopped.step);
});
