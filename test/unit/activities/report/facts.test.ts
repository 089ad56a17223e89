import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, pairAnswers } from '../../../../activities/eval/compare.ts';
import { chooseCases } from '../../../../activities/report/cases.ts';
import { trainingCurve } from '../../../../activities/report/curve.ts';
import { changedValues, departures } from '../../../../activities/report/departures.ts';
import { runSpecSchema } from '../../../../contracts/run-spec.ts';
import { graded } from '../eval/prediction.ts';
import { history } from './fixture.ts';

test('draws at most 400 points of a long training, and all of it', () => {
  const curve = trainingCurve(history(5000));
  assert.equal(curve.stepsPerPoint, 13);
  assert.ok(curve.points.length <= 400);
  assert.equal(curve.points.at(-1)?.step, 5000);
  assert.equal(curve.epochEnds.length, 2);
});

test('leaves a step without an update out of the curve, and names it', () => {
  const curve = trainingCurve(history());
  assert.deepEqual(curve.leftOut, [90]);
  assert.ok(!curve.points.some(({ step }) => step === 90));
});

test('counts a step that was written twice as it was written last', () => {
  const [first, ...rest] = history(20);
  assert.ok(first?.type === 'step');
  const curve = trainingCurve([first, ...rest, { ...first, loss: 7 }]);
  assert.equal(curve.points.length, 20);
  assert.equal(curve.points[0]?.loss, 7);
});

test('has an empty curve without history', () => {
  assert.deepEqual(trainingCurve([]).points, []);
});

test('shows where tuning helped, where it hurt and where it changed nothing', () => {
  const base = Array.from({ length: 40 }, (_, index) =>
    graded(index, index % 4 === 1 || index % 4 === 2 ? 'correct' : 'incorrect'),
  );
  const tuned = Array.from({ length: 40 }, (_, index) =>
    graded(index, index % 4 === 0 || index % 4 === 2 ? 'correct' : 'incorrect'),
  );
  const chosen = chooseCases(pairAnswers(base, tuned));
  assert.deepEqual(chosen.map(outcome).sort(), ['both-correct', 'neither', 'only-base', 'only-tuned', 'only-tuned']);
  assert.deepEqual(chooseCases(pairAnswers(base, tuned).reverse()), chosen);
});

test('fills up to three cases, and shows all where there are fewer', () => {
  const all = (count: number) => Array.from({ length: count }, (_, index) => graded(index, 'ungradable'));
  assert.equal(chooseCases(pairAnswers(all(9), all(9))).length, 3);
  assert.equal(chooseCases(pairAnswers(all(2), all(2))).length, 2);
});

test('lists for the default spec every departure and no changed value', () => {
  const spec = runSpecSchema.parse({});
  assert.equal(departures(spec).length, 12);
  assert.deepEqual(changedValues(spec), []);
});

test('lists only the departures that hold for the spec, and the values that it changes', () => {
  const spec = runSpecSchema.parse({
    dataset: { mapping: { preset: 'generic' } },
    train: { globalBatchSize: 256, epochs: 1, objective: { keepEos: false, normalisation: 'micro-batch-means' } },
    eval: { promptStyle: 'last-user-message', sampler: { topK: 50 } },
  });
  assert.deepEqual(departures(spec), [
    'own-trainer',
    'filtered-rows',
    'seeded',
    'checkpoints',
    'exported-model',
    'ungradable',
  ]);
  assert.deepEqual(changedValues(spec), [{ field: 'train.epochs', guide: '3', ours: '1' }]);
});
