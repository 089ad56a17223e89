import assert from 'node:assert/strict';
import { test } from 'node:test';
import { untilIdle } from '../../../workers/idle.ts';

test('a worker is idle after a time without any work, however long it worked before', async () => {
  const startedMs = performance.now();
  const busyMs = 300;
  const atWork = (): number => (performance.now() - startedMs < busyMs ? 1 : 0);
  assert.equal(await untilIdle(0.2, atWork, new AbortController().signal, 5), true);
  assert.ok(performance.now() - startedMs >= busyMs + 190);
});

test('one that ends is not idle', async () => {
  const ended = new AbortController();
  setTimeout(() => ended.abort(), 20);
  assert.equal(await untilIdle(60, () => 0, ended.signal), false);
});
