import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costOf, describeCost, gpuSecondsLeft } from '../../../contracts/cost.ts';

const policy = { maxGpuHours: 10, gpuHourPrice: 2.5, currency: 'EUR' };

test('a cost says hours, cap and price, as far as they are known', () => {
  assert.deepEqual(costOf(4500, policy), { gpuHours: 1.25, maxGpuHours: 10, amount: 3.125, currency: 'EUR' });
  assert.equal(describeCost(costOf(4500, policy)), '1.25 of at most 10 GPU-hours, 3.13 EUR');
  assert.equal(
    describeCost(costOf(4500, { ...policy, maxGpuHours: null, gpuHourPrice: 0 })),
    '1.25 GPU-hours, 0.00 EUR',
  );
});

test('a run of an earlier version has neither cap nor price', () => {
  for (const none of [null, undefined, {}]) {
    assert.equal(describeCost(costOf(3600, none)), '1 GPU-hours');
    assert.equal(gpuSecondsLeft(1e9, none ?? {}), null);
  }
});

test('what a cap leaves is never below nothing', () => {
  assert.deepEqual(
    [0, 35_000, 36_000, 40_000].map((spent) => gpuSecondsLeft(spent, policy)),
    [36_000, 1000, 0, 0],
  );
});
