import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepRecord } from '../../../../cli/verify/compare-steps.ts';
import { type Judged, judge } from '../../../../cli/verify/replay.ts';
import { reportInput } from '../../activities/report/fixture.ts';

const step = (number: number, over: Partial<StepRecord> = {}): StepRecord => ({
  ...{ type: 'step', step: number, epoch: 0, loss: 2.5 / number, gradNorm: 1 / number, learningRate: 1e-3 },
  ...{ tokens: 100, maskedTokens: 50, leftOut: false },
  ...over,
});
const steps = Array.from({ length: 12 }, (_, index) => step(index + 1));
const trained = {
  ...reportInput().input.summaries.train,
  ...{ steps: 12, weightsSha256: 'w', device: 'cpu', torch: '2.13.0', ranks: 1, recipe: 'fp32' },
};
const plan: Judged['ended']['plan'] = {
  ...{ type: 'plan', at: 0, rows: 10, stepsPerEpoch: 3, steps: 12, parameters: 9, threads: 1, fromStep: 8 },
  ...{ device: 'cpu', torch: '2.13.0', ranks: 1, recipe: 'fp32', deviceMemoryBytes: null },
};

function judged(over: Partial<Judged['ended']> = {}, kept?: Judged['kept'], run = { from: 8, to: 10 }) {
  const state = { weights: 'a', optimizer: 'b' };
  const ended = { plan, again: steps.slice(run.from, run.to), state, weights: 'w', ...over };
  return judge({ run, ended, steps, trained, kept });
}
const nextFloat = (value: number): number => value * (1 + Number.EPSILON);

test('the same numbers and the same state are told as equal to the bit', () => {
  assert.match(judged().check.found, /^replayed from checkpoint 8: loss and gradient norm equal to the bit$/);
  const kept = { stateSha256: { weights: 'a', optimizer: 'b' } };
  assert.match(judged({}, kept).check.found, /state equal to checkpoint 10$/);
  const { check, exact } = judged({}, undefined, { from: 0, to: 12 });
  assert.ok(exact);
  assert.equal(`${check.name}: ${check.found}`.slice(0, 35), 'steps 1–12: replayed from the base:');
  assert.match(check.found, /equal to the published weights$/);
});

test('one loss that differs in its last bit is found and named', () => {
  const loss = nextFloat(steps[8]?.loss ?? 0);
  const { check, exact } = judged({ again: [step(9, { loss }), step(10)] });
  assert.equal(exact, false);
  assert.equal(check.status, 'fail');
  assert.match(check.found, /step 9: loss is 0\.27777777777777785, was 0\.2777777777777778;/);
});

test('other data is found, whatever the loss', () => {
  const { check, largestDifference } = judged({ again: [step(9), step(10, { maskedTokens: 49 })] });
  assert.equal(largestDifference, Infinity);
  assert.match(check.found, /step 10: maskedTokens is 49, was 50/);
});

test('another state at the end is found', () => {
  const kept = { stateSha256: { weights: 'a', optimizer: 'other' } };
  assert.match(judged({}, kept).check.found, /the state is not that of checkpoint 10$/);
  const end = judged({ weights: 'other' }, undefined, { from: 8, to: 12 });
  assert.match(end.check.found, /the state is not that of the published weights$/);
});

test('on other hardware nothing is claimed to the bit: a difference is told, and has its limit', () => {
  const elsewhere = { ...plan, device: 'NVIDIA H100' };
  const near = judged({ plan: elsewhere, again: [step(9, { loss: (2.5 / 9) * (1 + 1e-6) }), step(10)] });
  assert.equal(near.check.status, 'warn');
  assert.match(
    near.check.found,
    /\(device NVIDIA H100, then cpu\): largest relative difference 1\.0e-6, within 0\.0001/,
  );
  const far = judged({ plan: elsewhere, again: [step(9, { loss: 1 }), step(10)] });
  assert.equal(far.check.status, 'fail');
});
