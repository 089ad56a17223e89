import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparePairs, outcome, pairAnswers } from '../../../../activities/eval/compare.ts';
import { graded } from './prediction.ts';

test('pairs answers by row and id, in order of rows', () => {
  const pairs = pairAnswers(
    [graded(0, 'correct'), graded(1, 'incorrect'), graded(2, 'correct', { id: 'another row' })],
    [graded(2, 'correct'), graded(1, 'correct'), graded(0, 'incorrect'), graded(3, 'correct')],
  );
  assert.deepEqual(
    pairs.map((pair) => [pair.tuned.index, outcome(pair)]),
    [
      [0, 'only-base'],
      [1, 'only-tuned'],
    ],
  );
});

test('compares only the questions that could be graded for both models', () => {
  const base = [graded(0, 'incorrect'), graded(1, 'ungradable'), graded(2, 'correct'), graded(3, 'incorrect')];
  const tuned = [graded(0, 'correct'), graded(1, 'correct'), graded(2, 'correct'), graded(3, 'incorrect')];
  const difference = comparePairs(pairAnswers(base, tuned));
  assert.equal(difference?.questions, 3);
  assert.equal(difference?.onlyTunedCorrect, 1);
  assert.equal(difference?.gain, 1 / 3);
});

test('has no difference when nothing could be graded for both', () => {
  assert.equal(comparePairs(pairAnswers([graded(0, 'ungradable')], [graded(0, 'correct')])), null);
});
