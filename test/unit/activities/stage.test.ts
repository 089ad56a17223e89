/** The frame of every stage, in a mocked activity context over a real folder store. */
import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ActivityCancellationDetails, CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import { runStage, type Stage, type StageContext, withHeartbeat } from '../../../activities/stage.ts';
import { Artifacts } from '../../../activities/store/artifacts.ts';
import { FileStore } from '../../../activities/store/file-store.ts';
import { ReverieFailure } from '../../../contracts/failures.ts';
import type { StageResult } from '../../../contracts/stages.ts';

const key = 'a'.repeat(64);
const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function setUp(heartbeatTimeoutMs = 300) {
  const root = await mkdtemp(join(tmpdir(), 'reverie-stage-'));
  folders.push(root);
  const cacheDir = join(root, 'cache');
  const damaged: string[] = [];
  const artifacts = new Artifacts(new FileStore(join(root, 'store')), cacheDir, (_, reason) => damaged.push(reason));
  const environment = new MockActivityEnvironment(
    { heartbeatTimeoutMs, activityType: 'convert' },
    { logger: new DefaultLogger('ERROR') },
  );
  const beats: unknown[] = [];
  environment.on('heartbeat', (details) => beats.push(details));
  const run = <S>(work: Stage<S>['work'], options: Partial<Stage<S>> = {}): Promise<StageResult<S>> =>
    environment.run(() =>
      runStage<S>({
        deps: { artifacts, cacheDir, log: pino({ level: 'silent' }) },
        stage: 'convert',
        key,
        work,
        ...options,
      }),
    );
  return { root, cacheDir, artifacts, environment, beats, damaged, run };
}

async function writeRows({ dir }: StageContext) {
  await writeFile(join(dir, 'train.parquet'), 'rows');
  return { rows: 1 };
}

test('a miss runs the stage and commits its files and summary; the scratch folder is gone', async () => {
  const { run, artifacts, cacheDir } = await setUp();
  const result = await run(writeRows);
  assert.equal(result.cached, false);
  assert.ok(result.seconds > 0);
  assert.deepEqual(result.summary, { rows: 1 });
  const folder = await artifacts.fetch(result.artifact);
  assert.equal(await readFile(join(folder, 'train.parquet'), 'utf8'), 'rows');
  assert.deepEqual(await readdir(join(cacheDir, 'scratch')), []);
});

test('a hit serves the stored summary in no time and does not run the stage', async () => {
  const { run } = await setUp();
  const first = await run(writeRows);
  const second = await run(async () => assert.fail('ran on a hit'));
  assert.deepEqual(second, { ...first, cached: true, seconds: 0 });
});

test('a damaged artifact is rebuilt, never served', async () => {
  const { run, root, damaged } = await setUp();
  await run(writeRows);
  const file = join(root, `store/artifacts/convert/${key}/train.parquet`);
  await writeFile(file, 'r0ws');
  const rebuilt = await run(writeRows);
  assert.equal(rebuilt.cached, false);
  assert.equal(await readFile(file, 'utf8'), 'rows');
  assert.match(damaged[0] ?? '', /train\.parquet does not have its SHA-256/);
});

test('a stage that fails leaves neither an artifact nor scratch files', async () => {
  const { run, artifacts, cacheDir } = await setUp();
  const failure = new ReverieFailure('DatasetRejected', 'no rows', { problems: ['no rows'] });
  await assert.rejects(
    run(async (context) => {
      await writeRows(context);
      throw failure;
    }),
    failure,
  );
  assert.equal(await artifacts.lookUp('convert', key), null);
  assert.deepEqual(await readdir(join(cacheDir, 'scratch')), []);
});

test('cancellation reaches the work as a signal, and nothing is committed', async () => {
  const { run, environment, artifacts, cacheDir } = await setUp();
  await assert.rejects(
    run(async (context) => {
      environment.cancel();
      await writeRows(context);
      return { rows: 1 };
    }),
    CancelledFailure,
  );
  assert.equal(await artifacts.lookUp('convert', key), null);
  assert.deepEqual(await readdir(join(cacheDir, 'scratch')), []);
});

test("a worker's shutdown reads as a preemption, not as the run's cancellation", async () => {
  const { run, environment } = await setUp();
  const details = new ActivityCancellationDetails({ workerShutdown: true });
  await assert.rejects(
    run(async ({ signal }) => {
      environment.cancel('WORKER_SHUTDOWN', details);
      return sleep(10_000, { rows: 1 }, { signal });
    }),
    (error: ReverieFailure) => error.type === 'Preempted',
  );
});

test('a cancellation that reached the work as an AbortError ends as the cancellation that Temporal knows', async () => {
  const { run, environment } = await setUp();
  await assert.rejects(
    run(async ({ signal }) => {
      environment.cancel('PAUSED', new ActivityCancellationDetails({ paused: true }));
      return sleep(10_000, { rows: 1 }, { signal });
    }),
    (error: unknown) => error instanceof CancelledFailure && error.message === 'PAUSED',
  );
});

test('heartbeats go on while the work makes progress, and carry what it describes', async () => {
  const { run, beats } = await setUp(300);
  await run(
    async (context) => {
      for (let i = 0; i < 20; i += 1) {
        await sleep(60);
        context.progress(10);
      }
      context.describe({ step: 7 });
      await sleep(150);
      return writeRows(context);
    },
    { stallSeconds: 0.8 },
  );
  assert.ok(beats.length >= 4, `${beats.length} heartbeats`);
  assert.deepEqual(beats.at(-1), { step: 7 });
  const moved = beats.map((beat) => (beat as { moved?: number }).moved ?? 0);
  assert.ok(moved.some((items) => items >= 10 && items <= 200 && items % 10 === 0));
});

test('a stall ends the heartbeats and the stage, with an error that says so', async () => {
  const { run, beats, cacheDir } = await setUp(300);
  const startedMs = performance.now();
  await assert.rejects(
    run(async ({ signal }) => sleep(10_000, { rows: 1 }, { signal }), { stallSeconds: 0.4 }),
    (error: Error) => error.name === 'ActivityStalled' && /convert reported no progress for 0\.4 s/.test(error.message),
  );
  assert.ok(performance.now() - startedMs < 3_000);
  const beatsAtEnd = beats.length;
  await sleep(250);
  assert.equal(beats.length, beatsAtEnd);
  assert.deepEqual(await readdir(join(cacheDir, 'scratch')), []);
});

test('an activity without an artifact has the same heartbeat', async () => {
  const { environment, beats } = await setUp(300);
  const answer = await environment.run(() => withHeartbeat(async ({ transfer }) => transfer.onBytes?.(5) ?? 'done'));
  assert.equal(answer, 'done');
  assert.equal(beats.length, 1);
});

test('scratch folders of dead processes are swept after a day, those in use are not', async () => {
  const { run, cacheDir } = await setUp();
  const yesterday = new Date(Date.now() - 25 * 3600 * 1000);
  for (const name of ['dead', 'alive']) {
    const folder = join(cacheDir, 'scratch', name);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'file'), '');
    await utimes(join(folder, 'file'), yesterday, yesterday);
    await utimes(folder, yesterday, yesterday);
  }
  await appendFile(join(cacheDir, 'scratch/alive/file'), 'still written');
  await run(writeRows);
  assert.deepEqual(await readdir(join(cacheDir, 'scratch')), ['alive']);
});
