/** An attempt that everybody took for dead, and that wakes up when another has finished its work, harms nothing. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CACHE_MARK, marked } from '../../activities/trainer/process-tree.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';
import { attemptRecords, forgetTraining, smallSpec, storedSteps, trainedTo } from './trainings.ts';

const { skip } = python;
const timeout = 240_000;
const STEPS = 40;
const spec = smallSpec(STEPS, 3);

let stack: TestStack;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(() => stack?.stop());

/** Paths and hashes of all that artifacts hold. */
async function artifacts(): Promise<Record<string, string>> {
  const root = join(stack.storeDir, 'artifacts');
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hashes = files.sort().map(async (file) => {
    return [
      file,
      createHash('sha256')
        .update(await readFile(file))
        .digest('hex'),
    ] as const;
  });
  return Object.fromEntries(await Promise.all(hashes));
}

test('a stopped attempt that wakes up after another has finished harms nothing', { skip, timeout }, async (t) => {
  const handle = await startRun({ client: stack.client, workflowId: 'stale', spec });
  const stopped = stack.gpu;
  await trainedTo(stack.cacheDir, 12);
  const frozen = await marked(CACHE_MARK, stack.cacheDir);
  assert.ok(frozen.length >= 1 && stopped.pid !== undefined);
  const pids = [stopped.pid, ...frozen];
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  t.after(() => {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It has ended.
      }
    }
  });

  // On the same host and cache folder, which is as near as another attempt can come.
  await stack.startGpuWorker();
  const result = (await handle.result()) as RunResult;
  assert.equal(result.attempts, 2);
  const [first, second] = await attemptRecords(stack);
  assert.equal(first?.ended, null, 'it still holds itself for the running one');
  assert.equal(second?.ended?.how, 'done');
  assert.ok((second?.fromStep ?? 0) >= 5);
  assert.deepEqual(await marked(CACHE_MARK, stack.cacheDir), frozen, 'neither sweep nor clean-up has touched it');
  const [before, steps] = [await artifacts(), await storedSteps(stack)];

  const wokenMs = performance.now();
  for (const pid of pids) process.kill(pid, 'SIGCONT');
  await eventually(
    'the woken trainer ends',
    async () => ((await marked(CACHE_MARK, stack.cacheDir)).length === 0 ? true : null),
    40_000,
  );
  t.diagnostic(`ended ${((performance.now() - wokenMs) / 1000).toFixed(1)} s after it woke`);
  await eventually('its word', async () => ((await attemptRecords(stack))[0]?.ended ? true : null), 20_000);
  assert.deepEqual(await artifacts(), before, 'every artifact is what it was');
  assert.ok((await storedSteps(stack)).includes(steps.at(-1) ?? 0), 'the newest checkpoint is still there');

  // The woken worker is as good as any: alone, it trains undisturbed to the same weights.
  await stack.gpu.stop();
  assert.ok(stopped.isRunning);
  await forgetTraining(stack);
  const again = await startRun({ client: stack.client, workflowId: 'undisturbed', spec });
  const undisturbed = (await again.result()) as RunResult;
  assert.equal(undisturbed.attempts, 1);
  assert.equal(result.weightsSha256, undisturbed.weightsSha256);
});
