import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byOneSetting } from '../../../../cli/verify/setting.ts';
import { attemptAt } from '../../activities/train/attempt.ts';

const by = (ranks: number, microBatchSize = 2, sharded = false) => ({ ranks, sharded, microBatchSize });
const attempt = (
  number: number,
  fromStep: number | null,
  step: number,
  setting: Record<string, number | boolean> | null,
) => attemptAt(number, { fromStep, step, setting });
const otherwise = by(9, 9);

test('steps are replayed as the newest attempt that did them has made them', () => {
  const attempts = [attempt(1, 0, 17, by(2)), attempt(2, 10, 30, by(1)), attempt(3, 30, 40, by(2))];
  assert.deepEqual(byOneSetting({ from: 5, to: 9 }, attempts, otherwise), { run: { from: 5, to: 9 }, setting: by(2) });
  assert.deepEqual(byOneSetting({ from: 10, to: 20 }, attempts, otherwise).setting, by(1));
  assert.deepEqual(byOneSetting({ from: 35, to: 40 }, attempts, otherwise).setting, by(2));
});

test('a run ends where the setting changes, and not where only the attempt does', () => {
  const attempts = [attempt(1, 0, 10, by(2)), attempt(2, 10, 20, by(2)), attempt(3, 20, 30, by(2, 1))];
  assert.deepEqual(byOneSetting({ from: 5, to: 30 }, attempts, otherwise).run, { from: 5, to: 20 });
  const sharded = [attempt(1, 0, 10, by(2)), attempt(2, 10, 20, by(2, 2, true)), attempt(3, 20, 30, by(2, 2, true))];
  assert.deepEqual(byOneSetting({ from: 5, to: 30 }, sharded, otherwise).run, { from: 5, to: 10 });
  assert.deepEqual(byOneSetting({ from: 15, to: 30 }, sharded, otherwise), {
    run: { from: 15, to: 30 },
    setting: by(2, 2, true),
  });
});

test('what died before its record heard of its last steps has made them all the same', () => {
  const attempts = [attempt(1, 0, 8, by(2)), attempt(2, null, 0, null), attempt(3, 12, 30, by(1))];
  assert.deepEqual(byOneSetting({ from: 8, to: 30 }, attempts, otherwise), {
    run: { from: 8, to: 12 },
    setting: by(2),
  });
});

test('without a record the training as a whole counts', () => {
  assert.deepEqual(byOneSetting({ from: 0, to: 3 }, [], otherwise).setting, otherwise);
});
