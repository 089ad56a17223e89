import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureRevealOrder } from '../../../../activities/eval/reveal-order.ts';
import { prediction } from './prediction.ts';

const count = (n: number): number[] => Array.from({ length: n }, (_, index) => index);

test('calls left to right 1 and right to left −1', () => {
  const forwards = measureRevealOrder([prediction(0, { revealSteps: count(20) })]);
  assert.equal(forwards.leftToRight, 1);
  assert.ok((forwards.rankByPosition[0] ?? 1) < 0.05 && (forwards.rankByPosition[9] ?? 0) > 0.95);
  const backwards = measureRevealOrder([prediction(0, { revealSteps: count(20).reverse() })]);
  assert.equal(backwards.leftToRight, -1);
  assert.deepEqual(backwards.rankByPosition, forwards.rankByPosition.toReversed());
});

test('counts tokens a step over the steps that revealed something', () => {
  const order = measureRevealOrder([
    prediction(0, { revealSteps: [0, 0, 5, 5, 9, 9] }),
    prediction(1, { revealSteps: [0, 1, 2, 3] }),
  ]);
  assert.equal(order.tokensPerStep, 1.5);
});

test('leaves out of the order what has none, and qualitative prompts altogether', () => {
  const order = measureRevealOrder([
    prediction(0, { revealSteps: [], newTokens: 0, ended: false }),
    prediction(1, { revealSteps: [3], newTokens: 1 }),
    prediction(2, { revealSteps: [2, 2, 2], newTokens: 3 }),
    prediction(0, { kind: 'qualitative', revealSteps: [3, 2, 1, 0] }),
  ]);
  assert.equal(order.samples, 3);
  assert.equal(order.endedShare, 2 / 3);
  assert.equal(order.leftToRight, null);
  assert.equal(order.newTokensMean, 4 / 3);
  assert.equal(order.rankByPosition[0], 0.5);
  assert.equal(order.rankByPosition[1], null);
});

test('measures nothing without samples', () => {
  assert.deepEqual(measureRevealOrder([]), {
    samples: 0,
    endedShare: null,
    newTokensMean: null,
    tokensPerStep: null,
    leftToRight: null,
    rankByPosition: new Array(10).fill(null),
  });
});
