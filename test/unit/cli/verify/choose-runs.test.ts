import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseRuns } from '../../../../cli/verify/choose-runs.ts';

const chosen = (starts: number[], steps: number, seed = 1) =>
  chooseRuns({ starts, end: 84, steps, seed }).map(({ from, to }) => `${from}–${to}`);

test('the last stretch is done whole where a step is left for elsewhere', () => {
  assert.deepEqual(chosen([78, 0], 8), ['0–2', '78–84']);
  assert.deepEqual(chosen([78, 0], 7), ['0–1', '78–84']);
});

test('a longer one gets half of the steps, and what elsewhere does not need', () => {
  assert.deepEqual(chosen([0, 60], 8), ['0–4', '60–64']);
  assert.deepEqual(chosen([0, 1], 8), ['0–1', '1–8']);
  assert.deepEqual(chosen([0, 78], 1), ['78–79']);
});

test('from the base alone the steps run on; enough of them do all', () => {
  assert.deepEqual(chosen([0], 8), ['0–8']);
  assert.deepEqual(chosen([0, 28, 84], 84), ['0–28', '28–84']);
});

test('the seed draws where else, the same each time', () => {
  const starts = [0, 10, 20, 30, 40, 50, 80];
  const places = Array.from({ length: 20 }, (_, seed) => chosen(starts, 5, seed).join());
  assert.ok(new Set(places).size > 2, places.join(' '));
  assert.deepEqual(chosen(starts, 5, 7), chosen(starts, 5, 7));
});
