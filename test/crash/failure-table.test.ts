/**
 * The failure table, row by row, with real causes on a real stack: each verdict is seen in `status`, and a run that goes
 * on ends with the weights that a trainer alone, never disturbed, makes of the same spec.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { startRun } from '../../cli/start.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';
import { specOf, trainUndisturbed, watchAttempts } from './at-work.ts';
import { attemptRecords, smallSpec } from './trainings.ts';

const { skip } = python;
const timeout = 300_000;
const STEPS = 40;
const STEP_DEADLINE_SECONDS = 5;
const small = smallSpec(STEPS);
const spec = { ...small, policy: { ...small.policy, phaseDeadlineSeconds: { train: STEP_DEADLINE_SECONDS } } };

let stack: TestStack;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(() => stack?.stop());

const status = (run: WorkflowHandle): Promise<RunStatus> => run.query<RunStatus>('status');

/** What was judged in training, oldest first. */
async function judged(run: WorkflowHandle): Promise<string[]> {
  const { incidents } = await status(run);
  return incidents.map(({ stage, type, verdict }) => `${stage}: ${type}, ${verdict}`);
}

const parked = (run: WorkflowHandle): Promise<NonNullable<RunStatus['parked']>> =>
  eventually('it waits for a person', async () => (await status(run)).parked, timeout / 2);

const resume = (run: WorkflowHandle): Promise<string> => run.executeUpdate('resume', { args: [{}] });

const send = (signal: NodeJS.Signals, pids: readonly number[]): void => {
  for (const pid of pids) process.kill(pid, signal);
};

describe('one run through the table', { skip, timeout }, () => {
  let run: WorkflowHandle;
  let next: ReturnType<typeof watchAttempts>;
  let undisturbed: Promise<string>;

  test('dead twice without a word at one step, the third attempt parks', async () => {
    next = watchAttempts(stack.cacheDir);
    run = await startRun({ client: stack.client, workflowId: 'table', spec });
    send('SIGKILL', (await next(0)).pids);
    send('SIGKILL', (await next(0)).pids);
    const { reason, advice } = await parked(run);
    assert.match(reason, /Two attempts in a row started from step 0 and died without a word/);
    assert.match(advice, /resume/);
    assert.deepEqual(await judged(run), ['train: NoProgress, park']);
    await resume(run);
  });

  test('a stopped trainer hangs: it is killed at the deadline of its phase, and the run goes on by itself', async () => {
    const attempt = await next(8);
    undisturbed = trainUndisturbed(await specOf(attempt), join(stack.dir, 'undisturbed'));
    send('SIGSTOP', attempt.pids);
    const hung = await eventually('judged', async () => (await status(run)).incidents[1] ?? null, timeout / 2);
    assert.equal(`${hung.type}, ${hung.verdict}`, 'TrainerHung, retry-elsewhere');
    assert.match(hung.message, /no sign for \d+ s in phase train; .* policy\.phaseDeadlineSeconds\.train/);
  });

  test('a trainer that crashes is tried again twice, then the run parks', async () => {
    for (let crash = 1; crash <= 3; crash++) {
      const { pids, step } = await next(1);
      assert.ok(step > 5, 'from a checkpoint');
      send('SIGSEGV', pids);
    }
    const { reason, holds } = await parked(run);
    assert.match(reason, /The trainer ended with SIGSEGV in phase train/);
    assert.match(holds, /the checkpoint of step [1-9]/);
    assert.deepEqual((await judged(run)).slice(2), [
      'train: TrainerCrashed, retry',
      'train: TrainerCrashed, retry',
      'train: TrainerCrashed, park',
    ]);
  });

  test('whose checkpoints are lost parks and trains nothing again, until a person accepts it', async () => {
    const before = (await attemptRecords(stack)).length;
    const lost = [join(stack.storeDir, 'checkpoints'), join(stack.cacheDir, 'training')];
    for (const folder of lost) await rm(folder, { recursive: true });
    await resume(run);
    await eventually('judged', async () => (await status(run)).incidents[5] ?? null, timeout / 2);
    const { reason } = await parked(run);
    assert.match(reason, /is of step 0; expected step [1-9]\d* or later, which this run has seen committed/);
    assert.deepEqual((await judged(run)).slice(5), ['train: CheckpointLost, park']);
    const records = await attemptRecords(stack);
    assert.deepEqual(
      records.slice(before).map(({ fromStep, step }) => [fromStep, step]),
      [[null, 0]],
    );
    await resume(run);
  });

  test('ends with the weights of an undisturbed training', async () => {
    const result = (await run.result()) as RunResult;
    assert.equal(result.weightsSha256, await undisturbed);
    assert.equal(result.attempts, 9);
    const { fromStep, ended } = (await attemptRecords(stack)).at(-1) ?? {};
    assert.deepEqual([fromStep, ended?.how], [0, 'done']);
  });
});
