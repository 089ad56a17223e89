/**
 * The failure table, row by row, with real causes on a real stack: each verdict is seen in `status`, and a run that goes
 * on ends with the weights that a trainer alone, never disturbed, makes of the same spec.
 */
import assert from 'node:assert/strict';
import { appendFile, mkdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { execa } from 'execa';
import type { Child } from '../../cli/child.ts';
import { worker } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';
import { specOf, trainUndisturbed, watchAttempts } from './at-work.ts';
import { attemptRecords, forgetTraining, smallSpec, trainings } from './trainings.ts';

const { skip } = python;
const timeout = 300_000;
const STEPS = 40;
const STEP_DEADLINE_SECONDS = 5;
const small = smallSpec(STEPS);
const spec = { ...small, policy: { ...small.policy, phaseDeadlineSeconds: { train: STEP_DEADLINE_SECONDS } } };

let stack: TestStack;
/** Of the spec above, from a trainer of its own. */
let undisturbed: Promise<string> | undefined;
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
    undisturbed ??= trainUndisturbed(await specOf(attempt), join(stack.dir, 'undisturbed'));
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

describe('without room, and without a store', { skip, timeout }, () => {
  const queue = 'small-disk';
  let disk: string;
  let full: string;
  let gpu: Child | null = null;
  let unmounted: string | false = false;
  before(async () => {
    disk = join(stack.dir, 'disk');
    full = join(disk, 'full');
    await mkdir(disk);
    const mounted = await execa('mount', ['-t', 'tmpfs', '-o', 'size=128m', 'tmpfs', disk], { reject: false });
    if (mounted.exitCode !== 0) unmounted = `no small disk to fill: ${mounted.stderr}`;
  });
  after(async () => {
    await gpu?.stop();
    if (unmounted === false) await execa('umount', ['--lazy', disk]);
  });

  /** Leaves room for events, which are small, but for no checkpoint. */
  async function fill(): Promise<void> {
    const { bavail, bsize } = await statfs(disk);
    const excess = bavail * bsize - 2e6;
    // A save that runs out of room at this moment takes what is left.
    if (excess > 0) await appendFile(full, Buffer.alloc(excess)).catch(() => undefined);
  }

  test('a disk that fills up is told, and the run backs off until there is room', async (t) => {
    if (unmounted !== false) return t.skip(unmounted);
    const env = { ...stack.env, REVERIE_CACHE_DIR: disk };
    gpu = worker({ kind: 'gpu', env, logs: disk, graceSeconds: 5, args: ['--queue', queue] });
    await gpu.ready(timeout / 2);
    await forgetTraining(stack);
    const run = await startRun({
      client: stack.client,
      workflowId: 'full',
      spec: { ...small, train: { ...small.train, queue } },
    });
    const attempt = await watchAttempts(disk)(8);
    undisturbed ??= trainUndisturbed(await specOf(attempt), join(stack.dir, 'undisturbed'));
    const told = await eventually(
      'judged',
      async () => {
        await fill();
        // The curve finds no room either, and says so as well.
        return (await status(run)).incidents.find(({ type }) => type !== 'TrackerDown') ?? null;
      },
      timeout / 2,
    );
    assert.equal(
      `${told.type}, ${told.verdict}: ${told.action}`,
      'DiskFull, retry-elsewhere: tries again in 15 s (1 of 20)',
    );
    await rm(full);
    const { weightsSha256, attempts } = (await run.result()) as RunResult;
    assert.equal(weightsSha256, await undisturbed);
    assert.equal(attempts, 2);
    const [first, second] = await attemptRecords(stack);
    assert.equal(first?.ended?.how, 'DiskFull');
    assert.ok(second?.fromStep && second.fromStep <= first.step, 'from a checkpoint that had found room');
  });

  test('training goes on without its store; what could not be brought there is brought later, from the disk', async () => {
    await forgetTraining(stack);
    const away = `${stack.storeDir}.away`;
    const run = await startRun({ client: stack.client, workflowId: 'away', spec: small });
    const attempt = await watchAttempts(stack.cacheDir)(8);
    undisturbed ??= trainUndisturbed(await specOf(attempt), join(stack.dir, 'undisturbed'));
    await rename(stack.storeDir, away);
    await writeFile(stack.storeDir, 'A folder was here.');
    assert.ok(attempt.step < STEPS, 'in mid-training');
    const told = await eventually('judged', async () => (await status(run)).incidents[0] ?? null, timeout / 2);
    assert.equal(
      `${told.type}, ${told.verdict}: ${told.action}`,
      'StoreUnavailable, retry: tries again in 15 s (1 of 20)',
    );
    await rm(stack.storeDir);
    await rename(away, stack.storeDir);
    const { weightsSha256, attempts } = (await run.result()) as RunResult;
    assert.equal(weightsSha256, await undisturbed);
    assert.equal(attempts, 2);
    const [, second] = await attemptRecords(stack);
    assert.equal(second?.fromStep, STEPS, 'no step was done again');
  });
});

/** Half of what a process's memory rises and falls by within a second; one that is still is left alone. */
const LIMIT_BELOW_PEAK = `
import re, resource, sys, time
pid, seen, end = int(sys.argv[1]), [], time.monotonic() + 1
while time.monotonic() < end:
    seen.append(1024 * int(re.search(r'VmData:\\s+(\\d+)', open(f'/proc/{pid}/status').read())[1]))
    time.sleep(0.001)
limit = (min(seen) + max(seen)) // 2
if max(seen) - min(seen) > 1 << 21:
    resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
`;

describe('a training that does not fit, and one that runs away', { skip, timeout }, () => {
  const queue = 'small-memory';

  test('memory that runs out halves the micro-batch, and the run goes on from its checkpoint', async () => {
    await forgetTraining(stack);
    const cacheDir = join(stack.dir, 'small-memory');
    await mkdir(cacheDir);
    // Each tensor is mapped anew: so none is made of what an earlier one has left.
    const env = { ...stack.env, REVERIE_CACHE_DIR: cacheDir, MALLOC_MMAP_THRESHOLD_: '65536' };
    const gpu = worker({ kind: 'gpu', env, logs: cacheDir, graceSeconds: 5, args: ['--queue', queue] });
    try {
      await gpu.ready(timeout / 2);
      const train = { ...spec.train, queue };
      const run = await startRun({ client: stack.client, workflowId: 'memory', spec: { ...spec, train } });
      const next = watchAttempts(cacheDir);
      const { pids } = await next(8);
      for (const pid of pids) await execa(python.path, ['-c', LIMIT_BELOW_PEAK, String(pid)]);
      const second = await next(1);
      assert.deepEqual(await judged(run), ['train: OutOfMemory, shrink'], (await status(run)).incidents[0]?.message);
      const told = await specOf(second);
      assert.deepEqual([told.microBatchSize, told.globalBatchSize], [4, 8]);
      assert.ok(second.step > 5, 'from a checkpoint');
      const { attempts } = (await run.result()) as RunResult;
      assert.equal(attempts, 2);
    } finally {
      await gpu.stop();
    }
  });

  test('a loss far above the last ones rolls the run back without the batch, twice, and then parks', async () => {
    await forgetTraining(stack);
    // What is asked of a loss is so narrow that ordinary batches miss it.
    const train = { ...spec.train, maxSteps: 2 * STEPS, spikeFactor: 1.01 };
    const run = await startRun({ client: stack.client, workflowId: 'diverged', spec: { ...spec, train } });
    const { reason } = await parked(run);
    assert.match(reason, /step \d+: loss [\d.]+; expected at most [\d.]+ \(median/);
    assert.deepEqual(await judged(run), [
      'train: Diverged, roll-back',
      'train: Diverged, roll-back',
      'train: Diverged, park',
    ]);
    const { incidents } = await status(run);
    const left = incidents.slice(0, 2).map(({ action }) => Number(/before step (\d+) and leaves/.exec(action)?.[1]));
    const [last] = (await trainings(stack.cacheDir)).slice(-1);
    assert.ok(last);
    assert.deepEqual((await specOf(last)).leaveOutSteps, left);
    await run.executeUpdate('abort', { args: [{ reason: 'seen' }] });
  });
});
