/** Two runs of one spec at once, on two hosts with a cache each and one store: both end well, and nothing is harmed. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Child } from '../../cli/child.ts';
import { worker } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult, RunStatus } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { reverie } from '../fixtures/command.ts';
import { python } from '../fixtures/python.ts';
import { specOf, trainUndisturbed, watchAttempts } from './at-work.ts';
import { attemptRecords, smallSpec } from './trainings.ts';

const { skip } = python;
const timeout = 300_000;
/** Some seconds, in which the other begins. */
const STEPS = 100;

let stack: TestStack;
let other: Child | undefined;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(async () => {
  await other?.stop();
  await stack?.stop();
});

test('two runs of one spec at once train side by side to the same weights', { skip, timeout }, async () => {
  const start = (workflowId: string) => startRun({ client: stack.client, workflowId, spec: smallSpec(STEPS) });
  const runs = await Promise.all([start('one'), start('other')]);
  const first = await watchAttempts(stack.cacheDir)(1);
  const spec = await specOf(first);
  // Not before: of all that waits for it, the other training comes first.
  const [otherCache, logs] = [join(stack.dir, 'other-cache'), join(stack.dir, 'other-logs')];
  await mkdir(logs);
  other = worker({ kind: 'gpu', env: { ...stack.env, REVERIE_CACHE_DIR: otherCache }, logs, graceSeconds: 5 });
  await watchAttempts(otherCache)(1);
  const results = (await Promise.all(runs.map((run) => run.result()))) as RunResult[];
  const weights = await trainUndisturbed(spec, join(stack.dir, 'undisturbed'));
  assert.deepEqual(
    results.map(({ weightsSha256, attempts }) => [weightsSha256, attempts]),
    [
      [weights, 1],
      [weights, 1],
    ],
  );
  const records = await attemptRecords(stack);
  assert.deepEqual(
    records.map(({ ended }) => ended?.how),
    ['done', 'done'],
  );
  const [one, two] = records;
  assert.ok((two?.startedAt ?? '') < (one?.ended?.at ?? ''), 'at once');
  for (const run of runs) {
    assert.deepEqual((await run.query<RunStatus>('status')).incidents, []);
    const verified = await reverie(['verify', run.workflowId, '--only-hashes'], { env: stack.env });
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  }
});
