/** Notices that a host goes, given in mid-training on a real stack: no step is lost, and no work is taken meanwhile. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CACHE_MARK, marked } from '../../activities/trainer/process-tree.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { awsTime, type InstanceMetadata, serveInstanceMetadata } from '../fixtures/instance-metadata.ts';
import { type PacedTrainer, pacedTrainer } from '../fixtures/paced-trainer.ts';
import { python } from '../fixtures/python.ts';
import { attemptRecords, smallSpec, storedSteps, trainedTo } from './trainings.ts';

const { skip } = python;
const timeout = 240_000;
const STEPS = 80;
/** The trainer gets SIGTERM in its export, once. */
const STOPPED_IN_EXPORT = `
import os, signal

def emit_and_stop(events, type, **fields):
    emit_and_wait(events, type, **fields)
    stopped = pace.with_name("stopped")
    if fields.get("phase") == "export" and not stopped.exists():
        stopped.touch()
        os.kill(os.getpid(), signal.SIGTERM)

Events.emit = emit_and_stop
`;

let service: InstanceMetadata;
let stack: TestStack;
let noticeFile: string;
let folder: string;
let trainer: PacedTrainer;
before(async () => {
  if (skip !== false) return;
  service = await serveInstanceMetadata();
  folder = await mkdtemp(join(tmpdir(), 'reverie-notices-'));
  noticeFile = join(folder, 'notice');
  trainer = await pacedTrainer(STOPPED_IN_EXPORT);
  // The workers inherit them.
  Object.assign(process.env, {
    AWS_EC2_METADATA_DISABLED: '',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url,
    REVERIE_NOTICE_FILE: noticeFile,
  });
  stack = await startTestStack();
});
after(async () => {
  await stack?.stop();
  await service?.close();
  await trainer?.remove();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** The newest stored step once the GPU worker has drained by itself. */
async function drained(): Promise<number> {
  const { gpu } = stack;
  await eventually('the worker ends', async () => (gpu.isRunning ? null : true), 60_000).catch(async (error: Error) => {
    const log = await readFile(gpu.request.logFile, 'utf8');
    throw new Error(`${error.message}; it said last:\n${log.split('\n').slice(-30).join('\n')}`);
  });
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), []);
  return (await storedSteps(stack)).at(-1) ?? 0;
}

test('stopped by notices, and by SIGTERM in its export, a training loses no step', { skip, timeout }, async (t) => {
  await trainer.slow();
  const handle = await startRun({ client: stack.client, workflowId: 'notices', spec: smallSpec(STEPS) });
  await trainedTo(stack.cacheDir, 8);
  const toldMs = performance.now();
  service.action = { action: 'terminate', time: awsTime(120) };
  const first = await drained();
  t.diagnostic(`drained ${((performance.now() - toldMs) / 1000).toFixed(1)} s after AWS's notice, at step ${first}`);
  assert.ok(first >= 8 && first < STEPS, 'in mid-training');

  // Started on the host that goes: it waits, and takes nothing.
  const starting = stack.startGpuWorker();
  const log = stack.gpu.request.logFile;
  await eventually('it says that it waits', async () => {
    return (await readFile(log, 'utf8')).includes('no work until that is over') ? true : null;
  });
  assert.equal((await attemptRecords(stack)).length, 1);
  service.action = null;
  await starting;

  await trainedTo(stack.cacheDir, first + 8);
  await writeFile(noticeFile, '');
  const second = await drained();
  t.diagnostic(`drained by the file at step ${second}`);
  assert.ok(second >= first + 8 && second < STEPS, 'in mid-training');
  await rm(noticeFile);
  await trainer.fast();
  await stack.startGpuWorker();

  const result = (await handle.result()) as RunResult;
  assert.equal(result.attempts, 4);
  const records = await attemptRecords(stack);
  assert.deepEqual(
    records.map(({ fromStep }) => fromStep),
    [0, first, second, STEPS],
  );
  assert.deepEqual(
    records.slice(0, 2).map(({ ended }) => [ended?.how, ended?.step]),
    [
      ['Preempted', first],
      ['Preempted', second],
    ],
  );
  assert.equal((await storedSteps(stack)).at(-1), STEPS, 'stopped in its export, its last checkpoint went up');
  const { incidents } = await handle.query<RunStatus>('status');
  assert.ok(
    incidents.every(({ type }) => type === 'Preempted'),
    'nothing that takes a verdict',
  );
});
