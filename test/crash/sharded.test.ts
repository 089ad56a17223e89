/** Ranks that share the weights: their checkpoints reach the store, and another host goes on from them, to the bit. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Child } from '../../cli/child.ts';
import { worker } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { reverie } from '../fixtures/command.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type PacedTrainer, pacedTrainer } from '../fixtures/paced-trainer.ts';
import { python } from '../fixtures/python.ts';
import { specOf, trainUndisturbed, watchAttempts } from './at-work.ts';
import { attemptRecords, smallSpec, storedSteps, trainedTo } from './trainings.ts';

const { skip } = python;
const RANKS = 2;
const small = smallSpec(30);
const spec: RunSpecInput = { ...small, train: { ...small.train, sharding: 'on', recipe: 'full-bf16-sr-8bit' } };

let stack: TestStack;
let trainer: PacedTrainer;
const hosts: Child[] = [];
/** With a cache of its own. */
async function startHost(name: string): Promise<{ child: Child; cacheDir: string }> {
  const [cacheDir, logs] = [join(stack.dir, name), join(stack.dir, `${name}-logs`)];
  await mkdir(logs);
  const env = { ...stack.env, REVERIE_CACHE_DIR: cacheDir };
  const child = worker({ kind: 'gpu', env, logs, graceSeconds: 5, args: ['--ranks', String(RANKS)] });
  hosts.push(child);
  return { child, cacheDir };
}
before(async () => {
  if (skip !== false) return;
  trainer = await pacedTrainer();
  stack = await startTestStack();
  await stack.gpu.stop();
});
after(async () => {
  for (const host of hosts) await host.stop();
  await stack?.stop();
  await trainer?.remove();
});

test('a host that is lost with its shards is followed by another, to the same weights, which anyone can verify', {
  skip,
  timeout: 300_000,
}, async () => {
  await trainer.slow();
  const lost = await startHost('lost');
  const handle = await startRun({ client: stack.client, workflowId: 'sharded', spec });
  const asked = await specOf(await watchAttempts(lost.cacheDir)(1));
  await trainedTo(lost.cacheDir, 12);
  await eventually('a checkpoint in the store', async () => ((await storedSteps(stack)).length > 0 ? true : null));
  process.kill(lost.child.pid ?? 0, 'SIGKILL');
  await trainer.fast();
  await startHost('next');
  const { weightsSha256, attempts } = (await handle.result()) as RunResult;
  assert.equal(attempts, 2);
  const [, second] = await attemptRecords(stack);
  assert.ok(second?.fromStep && second.fromStep >= 5, `from step ${second?.fromStep}`);
  assert.deepEqual((await handle.query<RunStatus>('status')).incidents, []);
  assert.equal(weightsSha256, await trainUndisturbed(asked, join(stack.dir, 'undisturbed'), RANKS));
  const { code, stdout, stderr } = await reverie(['verify', 'sharded', '--steps', '30'], { env: stack.env });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /replayed from the base: .*; state equal to checkpoint \d+/);
});
