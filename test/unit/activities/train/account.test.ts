import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Account } from '../../../../activities/train/account.ts';
import type { Attempt } from '../../../../activities/train/attempts.ts';
import type { Notice } from '../../../../contracts/workflow-api.ts';
import { attemptAt, plan, step } from './attempt.ts';

/** Steps 1 to 8 in a first attempt. */
function firstAttempt(): Attempt {
  const account = new Account(attemptAt(1), []);
  account.take(plan(), 1);
  for (let number = 1; number <= 8; number++) account.take(step(number), number + 1);
  return account.record(9);
}

/** From step 5 to step 10 in a second one. */
interface Over {
  ranks?: number;
  sharded?: boolean;
  leaveOutSteps?: number[];
}

function secondAttempt(losses: Record<number, number> = {}, over: Over = {}) {
  const { ranks = 1, sharded = false, leaveOutSteps = [] } = over;
  const record = attemptAt(2, { doneBefore: 8, leaveOutSteps });
  const account = new Account(record, [firstAttempt()]);
  account.take(plan({ fromStep: 5, ranks, sharded }), 1);
  const notices: Notice[] = [];
  for (let number = 6; number <= 10; number++) {
    const notice = account.take(step(number, { loss: losses[number] ?? 1 / number }), number);
    if (notice) notices.push(notice);
  }
  return { record: account.record(11), notices };
}

test('compares each step that is done again with its first time, to the bit', () => {
  const { record, notices } = secondAttempt();
  const equal = { steps: 3, compared: 3, differing: 0, comparedToRounding: 0, largestDifference: 0 };
  assert.deepEqual(record.replays, equal);
  assert.deepEqual(notices, []);
});

test('tells at once of the first loss that differs in its last bit, and counts the rest', () => {
  const { record, notices } = secondAttempt({ 7: 1 / 7 + Number.EPSILON / 8, 8: 0.2 });
  assert.equal(record.replays.differing, 2);
  assert.equal(notices.length, 1);
  assert.equal(notices[0]?.type, 'ReplayDiffers');
  assert.match(notices[0]?.message ?? '', /^Step 7 was done again on host-2 .* expected 0\.14285714285714285 /);
  assert.deepEqual(record.notices, notices);
});

for (const other of [{ ranks: 2 }, { sharded: true }]) {
  test(`under another setting, ${JSON.stringify(other)}, a difference is measured and no alarm`, () => {
    const { record, notices } = secondAttempt({ 8: 0.125 * (1 + 1e-6) }, other);
    assert.deepEqual(notices, []);
    const { compared, comparedToRounding, largestDifference } = record.replays;
    assert.deepEqual([compared, comparedToRounding], [0, 3]);
    assert.ok(Math.abs((largestDifference ?? 0) - 1e-6) < 1e-9);
  });
}

test('from a batch on that only one of them leaves out, two attempts are not compared', () => {
  const { record } = secondAttempt({ 7: 9, 8: 9 }, { leaveOutSteps: [7] });
  assert.deepEqual([record.replays.steps, record.replays.compared, record.replays.differing], [3, 1, 0]);
});

test('keeps the exact losses of the newest steps only', () => {
  const account = new Account(attemptAt(1), []);
  for (let number = 1; number <= 800; number++) account.take(step(number), number);
  const { losses } = JSON.parse(JSON.stringify(account.record(801))) as Attempt;
  assert.equal(losses.length, 500);
  assert.deepEqual(losses.at(-1), [800, 1 / 800]);
});
