/**
 * What an operator does to a training at work, with Temporal's own command line: whatever it is, nothing of the training
 * is lost, and it ends with the weights of an undisturbed one.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { CancelledFailure, defaultPayloadConverter } from '@temporalio/common';
import { execa } from 'execa';
import { CACHE_MARK, killMarked, marked } from '../../activities/trainer/process-tree.ts';
import { findTemporal } from '../../cli/setup/temporal.mjs';
import { startRun } from '../../cli/start.ts';
import type { HeartbeatDetails, RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { startReverie } from '../fixtures/command.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type PacedTrainer, pacedTrainer } from '../fixtures/paced-trainer.ts';
import { python } from '../fixtures/python.ts';
import { attemptRecords, forgetTraining, smallSpec, storedSteps, trainedTo, trainings } from './trainings.ts';

const { skip } = python;
const timeout = 120_000;
const STEPS = 70;

let stack: TestStack;
let trainer: PacedTrainer;
let weights: string;
before(async () => {
  if (skip !== false) return;
  trainer = await pacedTrainer();
  stack = await startTestStack();
});
after(async () => {
  await stack?.stop();
  await trainer?.remove();
});
beforeEach(async () => {
  if (skip !== false) return;
  await forgetTraining(stack);
  await trainer.slow();
});

let runs = 0;
const start = (heartbeatTimeoutSeconds?: number): Promise<WorkflowHandle> =>
  startRun({ client: stack.client, workflowId: `operator-${++runs}`, spec: smallSpec(STEPS, heartbeatTimeoutSeconds) });

interface Pending {
  id: string;
  state: string;
  attempt: number;
  beat: HeartbeatDetails | null;
}

/** Training as the UI shows it while it is at work or waits. */
async function pending(handle: WorkflowHandle): Promise<Pending | null> {
  const { raw } = await handle.describe();
  const activity = (raw.pendingActivities ?? []).find(({ activityType }) => activityType?.name === 'train');
  if (!activity) return null;
  const [payload] = activity.heartbeatDetails?.payloads ?? [];
  return {
    id: activity.activityId ?? '',
    state: activity.paused ? 'paused' : 'not paused',
    attempt: activity.attempt ?? 0,
    beat: payload ? defaultPayloadConverter.fromPayload<HeartbeatDetails>(payload) : null,
  };
}

async function tell(verb: 'pause' | 'unpause' | 'reset', { workflowId }: WorkflowHandle, { id }: Pending) {
  const temporal = (await findTemporal()) ?? assert.fail('no Temporal CLI');
  await execa(temporal, ['activity', verb, '--workflow-id', workflowId, '--activity-id', id], { env: stack.env });
}

/** Once it has done `step`, with what its worker last told. */
async function at(handle: WorkflowHandle, step: number): Promise<Pending> {
  await trainedTo(stack.cacheDir, step);
  return (await pending(handle)) ?? assert.fail('training is not at work');
}

/** Right after a heartbeat, so that what is asked for comes back no sooner than with the next. */
async function afterHeartbeat(handle: WorkflowHandle): Promise<void> {
  const told = async (): Promise<string> => JSON.stringify((await pending(handle))?.beat ?? null);
  const before = await told();
  await eventually('a heartbeat', async () => (await told()) !== before || null);
}

const noTrainer = (): Promise<true> =>
  eventually('no trainer left', async () => (await marked(CACHE_MARK, stack.cacheDir)).length === 0 || null);

const newestStep = async (): Promise<number> => Math.max(...(await trainings(stack.cacheDir)).map(({ step }) => step));

/** Both records, once the second has found where to start. */
const secondAttempt = () =>
  eventually(
    'a second attempt',
    async () => {
      const records = await attemptRecords(stack);
      return records.length === 2 && records[1]?.fromStep !== null ? records : null;
    },
    timeout / 2,
  );

/** In so many attempts, the last of which started where the one before had been told to stop. */
async function assertSame(handle: WorkflowHandle, attempts: number): Promise<void> {
  await trainer.fast();
  const result = (await handle.result()) as RunResult;
  assert.equal(result.weightsSha256, weights);
  const records = await attemptRecords(stack);
  assert.equal(records.length, attempts, JSON.stringify(records));
  const [stopped, last] = records.slice(-2);
  assert.ok(last?.fromStep && last.fromStep === stopped?.ended?.step, JSON.stringify(records));
  const { incidents } = await handle.query<RunStatus>('status');
  assert.deepEqual(incidents, [], 'nothing to judge');
}

test('who looks at an undisturbed training sees in its heartbeats and its log where it is', {
  skip,
  timeout,
}, async (t) => {
  const handle = await start();
  const log = startReverie(['logs', handle.workflowId, '--follow'], { env: stack.env });
  t.after(() => log.signal('SIGKILL'));
  const training = await eventually(
    'a heartbeat with a checkpoint',
    async () => {
      const { beat } = (await pending(handle)) ?? {};
      return beat?.checkpointStep ? beat : null;
    },
    timeout / 2,
  );
  assert.match(training.phase, /^(train|save|validation)$/);
  assert.ok(training.step >= (training.checkpointStep ?? 0) && training.steps === STEPS, JSON.stringify(training));
  assert.ok(training.bytesRead > 1e6 && training.bytesUploaded > 1e6, 'model and checkpoint have moved');
  await eventually(
    'steps in the log',
    async () => /step \d+\/70 {2}epoch \d+ {2}loss \d/.test(log.said()) || null,
    30_000,
  );
  assert.equal((await handle.describe()).status.name, 'RUNNING', 'they are told while it trains');
  await trainer.fast();
  weights = ((await handle.result()) as RunResult).weightsSha256;
  const { code, stdout, stderr } = await log.ended;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^── attempt .+ ──\n.* phase start\n/);
  assert.match(stdout, / step 70\/70 {2}epoch .*\n.* checkpoint \(final\), .*\n(.*\n)* ?.* done in \d+ s/);
});

test('reset, then paused and let go on: saves, frees the device, and goes on', { skip, timeout }, async (t) => {
  const handle = await start();
  const first = await at(handle, 12);
  assert.equal(first.attempt, 1);
  await tell('reset', handle, first);
  const [before, begun] = await secondAttempt();
  assert.equal(before?.ended?.step, begun?.fromStep);

  const second = await at(handle, (await newestStep()) + 5);
  const askedMs = performance.now();
  await tell('pause', handle, second);
  await noTrainer();
  t.diagnostic(`the trainer is gone ${((performance.now() - askedMs) / 1000).toFixed(1)} s after Pause`);
  const paused = await eventually('paused', async () => {
    const now = await pending(handle);
    return now?.state === 'paused' ? now : null;
  });
  const stopped = await newestStep();
  assert.ok(stopped < STEPS, 'stopped in mid-training');
  await eventually('saved', async () => (await storedSteps(stack)).at(-1) === stopped || null);
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), [], 'nothing starts before it is let go on');
  await tell('unpause', handle, paused);
  await assertSame(handle, 3);
});

test('reset on a second attempt, after a kill: the old one stops, the next goes on from it', {
  skip,
  timeout,
}, async () => {
  const handle = await start();
  await at(handle, 12);
  assert.ok((await killMarked(CACHE_MARK, stack.cacheDir)) > 0);
  const [, begun] = await secondAttempt();
  const second = await at(handle, (begun?.fromStep ?? 0) + 15);
  assert.equal(second.attempt, 2);
  await tell('reset', handle, second);
  await noTrainer();
  await assertSame(handle, 3);
});

test('cancelled: stops within seconds, and keeps its checkpoint for the next run', { skip, timeout }, async (t) => {
  // As patient as the default: a cancellation must not wait for a third of this.
  const handle = await start(60);
  await trainedTo(stack.cacheDir, 12);
  await afterHeartbeat(handle);
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

  const kept = (await storedSteps(stack)).at(-1) ?? 0;
  assert.ok(kept >= 12 && kept < STEPS, `step ${kept}`);
  await assertSame(await start(), 2);
});
