import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  CACHE_MARK,
  killMarked,
  killOrphans,
  marked,
  WORKER_MARK,
} from '../../../../activities/trainer/process-tree.ts';

const skip = process.platform === 'linux' ? false : 'processes are found through /proc';
const mark = 'REVERIE_TEST_MARK';

/** A shell whose child has left its process group and session. */
function tree(environment: Record<string, string>): void {
  spawn('sh', ['-c', 'setsid sleep 300 & exec sleep 300'], {
    env: { ...process.env, ...environment },
    stdio: 'ignore',
  }).unref();
}

async function count(name: string, value: string, expected: number): Promise<number[]> {
  for (let tries = 0; ; tries++) {
    const pids = await marked(name, value);
    if (pids.length === expected || tries > 100) return pids;
    await new Promise((done) => setTimeout(done, 50));
  }
}

test('ends a process tree to the last, children that left its session included', { skip }, async () => {
  const value = `tree-${process.pid}`;
  tree({ [mark]: value });
  assert.equal((await count(mark, value, 2)).length, 2);
  assert.equal(await killMarked(mark, value), 2);
  assert.deepEqual(await marked(mark, value), []);
});

test('does not take a longer value for the mark', { skip }, async (t) => {
  const value = `long-${process.pid}`;
  tree({ [mark]: `${value}er` });
  t.after(() => killMarked(mark, `${value}er`));
  await count(mark, `${value}er`, 2);
  assert.deepEqual(await marked(mark, value), []);
});

test('sweeps the trainers of a dead worker, and leaves those of a living one', { skip }, async (t) => {
  const cacheDir = `/cache/${process.pid}`;
  const worker = spawn('true');
  await once(worker, 'exit');
  tree({ [CACHE_MARK]: cacheDir, [WORKER_MARK]: String(worker.pid) });
  tree({ [CACHE_MARK]: cacheDir, [WORKER_MARK]: String(process.pid), [mark]: 'living' });
  t.after(() => killMarked(CACHE_MARK, cacheDir));
  assert.equal((await count(CACHE_MARK, cacheDir, 4)).length, 4);
  assert.equal(await killOrphans(cacheDir), 2);
  assert.equal((await marked(mark, 'living')).length, 2);
});
