import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trainingLedger } from '../../../../activities/train/ledger.ts';
import { goodput, wallSeconds } from '../../../../contracts/ledger.ts';
import { attemptAt } from './attempt.ts';

const later = (seconds: number): string => new Date(Date.parse('2026-11-24T03:00:00Z') + seconds * 1000).toISOString();
const zero = attemptAt(1).seconds;
const first = attemptAt(1, { seconds: { ...zero, starting: 10, productive: 80, lost: 10 }, gpus: 8 });
const second = attemptAt(2, {
  seconds: { ...zero, starting: 10, replayed: 20, productive: 70 },
  startedAt: later(130),
  fromStep: 40,
  gpus: 2,
});

test('sums to the wall time of the training, the wait for a host included', () => {
  const ledger = trainingLedger([first, second]);
  assert.ok(ledger);
  assert.equal(ledger.seconds.waitingForHost, 30);
  assert.equal(wallSeconds(ledger), 230);
  assert.equal(goodput(ledger), 150 / 230);
  assert.equal(ledger.gpuSeconds, 100 * 8 + 100 * 2);
  assert.deepEqual(ledger.restarts, [40]);
});

test('a clock that was set back makes no negative wait', () => {
  const ledger = trainingLedger([first, { ...second, startedAt: later(-3600) }]);
  assert.equal(ledger?.seconds.waitingForHost, 0);
});

test('between two runs of the same training nobody waited', () => {
  const ledger = trainingLedger([first, { ...second, workflowId: 'tomorrow', startedAt: later(86_400) }]);
  assert.equal(ledger?.seconds.waitingForHost, 0);
});

test('is unknown where no attempt has left an account', () => {
  assert.equal(trainingLedger([]), null);
  assert.equal(goodput({ seconds: { ...zero, waitingForHost: 0 } }), null);
});
