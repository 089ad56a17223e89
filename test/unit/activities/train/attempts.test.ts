import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { completeRecord } from '../../../../activities/train/attempt-log.ts';
import { Attempts } from '../../../../activities/train/attempts.ts';
import { attemptAt, phase, plan, STARTED, step } from './attempt.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'reverie-attempts-'));
});
after(() => rm(root, { recursive: true }));
const attemptsOf = (key: string) => new Attempts(new FileStore(join(root, 'store')), key);

test('lists attempts as they began, whatever their clocks said', async () => {
  const attempts = attemptsOf('order');
  for (const number of [10, 9, 1])
    await attempts.put(attemptAt(number, { startedAt: `2026-11-24T0${number % 10}:00:00.000Z` }));
  assert.deepEqual(
    (await attempts.list()).map(({ number }) => number),
    [1, 9, 10],
  );
});

test('leaves out a record of another version', async () => {
  const store = new FileStore(join(root, 'store'));
  await store.put('attempts/old/a.json', Buffer.from(JSON.stringify({ version: 1, workflowId: 'w' })));
  assert.deepEqual(await attemptsOf('old').list(), []);
});

test('two silent deaths in a row from one step are no progress; what never began does not come between', async () => {
  const attempts = attemptsOf('stuck');
  await attempts.put(attemptAt(1, { fromStep: 20 }));
  await attempts.put(attemptAt(2, { fromStep: null }));
  await attempts.put(attemptAt(3, { fromStep: 20 }));
  await attempts.assertProgress('w', 25, 'attempt-4');
  await attempts.assertProgress('w', 20, 'attempt-3');
  await assert.rejects(attempts.assertProgress('w', 20, 'attempt-4'), { name: 'ReverieFailure', type: 'NoProgress' });
  await attempts.assertProgress('w', 20, 'attempt-4');
});

test('completes the record of an attempt that died on this host from its own events', async () => {
  const attempts = attemptsOf('dead');
  await attempts.put(attemptAt(1));
  const at = (seconds: number) => Date.parse(STARTED) / 1000 + seconds;
  const events = [phase('load'), plan(), phase('train'), step(1), step(2)].map((event, index) => ({
    ...event,
    at: at(2 + index),
  }));
  const file = join(root, 'events.jsonl');
  // The last line was cut off by the kill.
  await writeFile(file, `${events.map((event) => JSON.stringify(event)).join('\n')}\n{"type":"st`);
  await completeRecord(attempts, 'attempt-1', file);
  const [dead] = await attempts.list();
  assert.equal(dead?.step, 2);
  assert.deepEqual(dead.losses, [
    [1, 1],
    [2, 0.5],
  ]);
  assert.deepEqual([dead.seconds.starting, dead.seconds.productive, dead.seconds.waitingForData], [4, 1.5, 0.5]);
  assert.equal(dead.ended, null);
});
