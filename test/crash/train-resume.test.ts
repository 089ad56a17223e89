/**
 * Faults in mid-training, on a real stack: whatever was killed, the run ends with the weights of an undisturbed one.
 * Each test asserts that its fault fired.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { CACHE_MARK, killMarked, marked } from '../../activities/trainer/process-tree.ts';
import { look } from '../../cli/observe.ts';
import { freePort } from '../../cli/ports.ts';
import { startRun } from '../../cli/start.ts';
import { spendings, type TrainingLedger, wallSeconds } from '../../contracts/ledger.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { reverie } from '../fixtures/command.ts';
import { eventually } from '../fixtures/eventually.ts';
import { pathWithGpus } from '../fixtures/nvidia-smi.ts';
import { type PacedTrainer, pacedTrainer } from '../fixtures/paced-trainer.ts';
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
/** Of Debian's package libfaketime. */
const FAKE_TIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
const withoutFakeTime = existsSync(FAKE_TIME) ? false : `no ${FAKE_TIME}; Debian's package libfaketime brings it`;

let stack: TestStack;
let trainer: PacedTrainer;
let undisturbed: RunResult;
let ledger: TrainingLedger;
let artifact: Awaited<ReturnType<typeof trainArtifact>>;
let gpus: Awaited<ReturnType<typeof pathWithGpus>>;
before(async () => {
  if (skip !== false) return;
  gpus = await pathWithGpus(1);
  Object.assign(process.env, { PATH: gpus.PATH, CUDA_VISIBLE_DEVICES: '0' });
  trainer = await pacedTrainer();
  stack = await startTestStack();
});
after(async () => {
  await stack?.stop();
  await trainer?.remove();
  if (skip === false) await rm(gpus.folder, { recursive: true });
});

/** Every test trains anew. */
beforeEach(async () => {
  if (skip !== false) return;
  if (!stack.gpu.isRunning) await stack.startGpuWorker();
  await forgetTraining(stack);
});

let runs = 0;
const start = (): Promise<WorkflowHandle> => startRun({ client: stack.client, workflowId: `crash-${++runs}`, spec });

/** The trainer stays slow until the fault has been. */
async function midway(): Promise<Training> {
  await trainer.slow();
  return trainedTo(stack.cacheDir, FAULT_STEP);
}
const attempts = () => attemptRecords(stack);

async function assertResumed(handle: WorkflowHandle, between: { from: number; to: number }): Promise<void> {
  await trainer.fast();
  const result = (await handle.result()) as RunResult;
  assert.equal(result.weightsSha256, undisturbed.weightsSha256);
  assert.equal(result.attempts, 2);
  const [first, second] = await attempts();
  assert.equal(first?.fromStep, 0);
  assert.ok(
    second?.fromStep && second.fromStep >= between.from && second.fromStep <= between.to,
    JSON.stringify(second),
  );
  assert.equal(second.ended?.how, 'done');
  const { incidents, ledger } = await handle.query<RunStatus>('status');
  assert.deepEqual(incidents, [], 'a preemption is nothing to judge');
  await assertAccounted(handle, ledger);
  assert.deepEqual(await trainArtifact(), artifact, 'an undisturbed training has left the same artifact');
}

/** Every second of the training is in the ledger, and each step that was done again gave the same loss. */
async function assertAccounted(handle: WorkflowHandle, ledger: RunStatus['ledger']): Promise<void> {
  assert.ok(ledger);
  const { steps, compared, differing } = ledger.replays;
  assert.deepEqual([compared, differing], [steps, 0]);
  const wall = wallSeconds(ledger);
  const measured = await trainActivitySeconds(handle);
  const parts = spendings.map((name) => `${name} ${ledger.seconds[name].toFixed(2)}`).join(', ');
  console.log(`ledger ${wall.toFixed(2)} s of ${measured.toFixed(2)} s: ${parts}; ${steps} steps compared`);
  // Half a second for the way to the worker and back.
  assert.ok(Math.abs(wall - measured) <= 0.02 * measured + 0.5, `${wall} of ${measured} s`);
}

/** As the Temporal server saw it, over all its attempts. */
async function trainActivitySeconds(handle: WorkflowHandle): Promise<number> {
  const { events = [] } = await handle.fetchHistory();
  const scheduled = events?.find((it) => it.activityTaskScheduledEventAttributes?.activityType?.name === 'train');
  const completed = events?.find((it) => {
    const id = it.activityTaskCompletedEventAttributes?.scheduledEventId;
    return id != null && String(id) === String(scheduled?.eventId);
  });
  const seconds = (event: typeof scheduled) =>
    Number(event?.eventTime?.seconds) + Number(event?.eventTime?.nanos) / 1e9;
  return seconds(completed) - seconds(scheduled);
}

/** Its digest, by which an evaluation finds it, and what it says of the samples. */
async function trainArtifact(): Promise<{ digest: string; samples: unknown }> {
  const root = join(stack.storeDir, 'artifacts/train');
  const [key = ''] = await readdir(root);
  const read = async (name: string) => JSON.parse(await readFile(join(root, key, name), 'utf8'));
  return { digest: (await read('manifest.json')).digest, samples: (await read('training.json')).samples };
}

test('trains undisturbed in one attempt', { skip, timeout }, async () => {
  const handle = await start();
  undisturbed = (await handle.result()) as RunResult;
  assert.equal(undisturbed.attempts, 1);
  assert.deepEqual(
    (await attempts()).map(({ fromStep, ended }) => [fromStep, ended?.how]),
    [[0, 'done']],
  );
  artifact = await trainArtifact();
  const status = await handle.query<RunStatus>('status');
  ledger = status.ledger ?? assert.fail('no account of the training');
  assert.match(JSON.stringify(artifact.samples), /"duplicates":0,"dropped":0,"leftOut":0/);
  const tracked = join(stack.storeDir, 'tracking');
  const curve = (await readdir(tracked, { recursive: true })).find((name) => name.includes('tfevents'));
  assert.match(await readFile(join(tracked, curve ?? ''), 'latin1'), /gpu\/0\/utilisation_percent/);
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
  const [metrics, health] = [`127.0.0.1:${await freePort(0)}`, `127.0.0.1:${await freePort(0)}`];
  await stack.startGpuWorker({ REVERIE_METRICS_ADDRESS: metrics, REVERIE_HEALTH_ADDRESS: health });
  await assertResumed(handle, { from: 5, to: STEPS - 1 });
  assert.equal((await attempts())[0]?.ended, null, 'it died without a word');
  await assertObserved(metrics, health, handle.workflowId);
});

test('goes on to the same weights on a host whose clock is an hour behind', {
  skip: skip || withoutFakeTime,
  timeout,
}, async () => {
  const handle = await start();
  await midway();
  process.kill(stack.gpu.pid ?? 0, 'SIGKILL');
  await eventually('the trainer dies with its worker', async () => {
    return (await marked(CACHE_MARK, stack.cacheDir)).length === 0 ? true : null;
  });
  // Under libfaketime Python's own sleep is refused.
  await trainer.fast();
  await stack.startGpuWorker({ LD_PRELOAD: FAKE_TIME, FAKETIME: '-3600', FAKETIME_DONT_FAKE_MONOTONIC: '1' });
  const result = (await handle.result()) as RunResult;
  assert.equal(result.weightsSha256, undisturbed.weightsSha256);
  const [first, second] = await attempts();
  assert.ok(second && first && second.startedAt < first.startedAt, 'the clock was behind');
  assert.ok(second.fromStep && second.fromStep >= 5, `from step ${second.fromStep}`);
  assert.deepEqual(await trainArtifact(), artifact);
  const { ledger } = await handle.query<RunStatus>('status');
  assert.ok(ledger);
  const measured = await trainActivitySeconds(handle);
  // What lay between two hosts' clocks cannot be known, and is not made up.
  assert.ok(Object.values(ledger.seconds).every((seconds) => seconds >= 0 && seconds <= measured));
  const { stdout } = await reverie(['logs', handle.workflowId], { env: stack.env });
  assert.match(stdout, /^── attempt 0001\..*\n(.*\n)*── attempt 0002\.(.*\n)*.* step 50\/50 /);
  // The next test is on a host of its time.
  await stack.gpu.stop();
});

/** What a worker that has trained says to Prometheus, to its supervisor, and in its log. */
async function assertObserved(metrics: string, health: string, workflowId: string): Promise<void> {
  const get = async (url: string) => {
    const response = await fetch(`http://${url}`);
    return { status: response.status, text: await response.text() };
  };
  const { text } = await get(`${metrics}/metrics`);
  const value = (name: string): number => {
    const [, found] = new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text) ?? [];
    return Number(found ?? assert.fail(`no ${name} in:\n${text}`));
  };
  const fromStep = (await attempts())[1]?.fromStep ?? 0;
  assert.equal(value('reverie_train_steps_total'), STEPS - fromStep);
  assert.ok(value('reverie_train_tokens_total') > 0);
  assert.ok(value('reverie_train_save_stall_seconds_count') >= 1);
  assert.ok(value('reverie_train_goodput') > 0 && value('reverie_train_goodput') < 1);
  const age = Date.now() / 1000 - value('reverie_train_checkpoint_timestamp_seconds');
  assert.ok(age > 0 && age < 120, `a checkpoint ${age} s ago`);
  assert.ok(value('temporal_activity_schedule_to_start_latency_seconds_count') >= 1, 'the wait in the queue');
  assert.deepEqual(await get(`${health}/readyz`), { status: 200, text: '{"state":"RUNNING"}\n' });
  assert.equal((await get(`${health}/livez`)).status, 200);
  assert.equal((await get(`${health}/`)).status, 404);
  const log = (await readFile(stack.gpu.request.logFile, 'utf8')).split('\n').filter((line) => line.startsWith('{'));
  const committed = log.map((line) => JSON.parse(line)).filter((entry) => entry.msg === 'artifact committed');
  assert.ok(committed.some((entry) => entry.workflowId === workflowId && entry.stage === 'train' && entry.runId));
}

test('loses no step when the GPU worker is told to stop', { skip, timeout }, async () => {
  const handle = await start();
  const { folder } = await midway();
  const { live } = await look(stack.client, handle.workflowId);
  assert.deepEqual(live.find(({ stage }) => stage === 'train')?.gpus, [{ index: 0, percent: 97, memoryGib: 70 }]);
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

test('parks at a checkpoint when its GPU-hours are used up, and goes on to the same weights', {
  skip,
  timeout,
}, async () => {
  // Within the steps, as the undisturbed training has measured it on this machine; they are slower until it has parked.
  await trainer.slow();
  let seconds = ledger.seconds.starting + ledger.seconds.productive / 2;
  const handle = await startRun({
    client: stack.client,
    workflowId: 'crash-cap',
    spec: { ...spec, policy: { ...spec.policy, maxGpuHours: seconds / 3600, gpuHourPrice: 3600 } },
  });
  const next = () =>
    eventually(
      'parked or over',
      async () => {
        const status = await handle.query<RunStatus>('status');
        return status.state === 'running' ? null : status;
      },
      90_000,
    );
  let parked = await next();
  const first = parked;
  // A machine that is busier now has used it all on loading: a little more each time, until something is saved.
  while ((await storedSteps(stack)).length === 0) {
    seconds *= 1.3;
    const maxGpuHours = parked.cost.gpuHours + seconds / 3600;
    await handle.executeUpdate('resume', { args: [{ changes: { policy: { maxGpuHours } } }] });
    parked = await next();
  }
  assert.equal(first.incidents[0]?.type, 'CapReached');
  assert.ok(
    first.cost.gpuHours > (first.cost.maxGpuHours ?? 0) &&
      Math.abs((first.cost.amount ?? 0) - first.cost.gpuHours * 3600) < 1e-6,
    JSON.stringify(first.cost),
  );
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), [], 'the GPU is free');
  const saved = (await storedSteps(stack)).at(-1);
  assert.match(parked.parked?.holds ?? '', new RegExp(`the checkpoint of step ${saved}$`));
  await assert.rejects(async () => handle.executeUpdate('resume', { args: [{}] }), /./);
  await trainer.fast();
  await handle.executeUpdate('resume', { args: [{ changes: { policy: { maxGpuHours: null } } }] });
  assert.equal(((await handle.result()) as RunResult).weightsSha256, undisturbed.weightsSha256);
  const { fromStep } = (await attempts()).at(-1) ?? {};
  assert.equal(fromStep, saved, 'nothing was done again');
  assert.deepEqual(await trainArtifact(), artifact);
});
