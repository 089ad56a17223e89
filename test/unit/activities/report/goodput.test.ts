import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goodputFacts } from '../../../../activities/report/goodput.ts';
import type { TrainingLedger } from '../../../../contracts/ledger.ts';
import type { TrainSummary } from '../../../../contracts/stages.ts';
import { reportInput } from './fixture.ts';

const { ledger, spec, summaries } = reportInput().input;
assert.ok(ledger);

const adviceOn = (seconds: Partial<TrainingLedger['seconds']>, train: Partial<TrainSummary> = {}) =>
  goodputFacts({ ...ledger, seconds: { ...ledger.seconds, ...seconds } }, { ...summaries.train, ...train }, spec)
    ?.advice;

test('states the share in which training came forward, and all other shares', () => {
  const facts = goodputFacts(ledger, summaries.train, spec);
  assert.equal(facts?.wallSeconds, 2127);
  assert.equal(facts.share, 1850 / 2127);
  assert.ok(Math.abs(facts.parts.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-12);
});

test('advises only where time was lost', () => {
  assert.deepEqual(adviceOn({}), []);
  assert.deepEqual(adviceOn({ waitingForData: 120 }), ['data']);
  assert.deepEqual(adviceOn({ saving: 60, replayed: 150 }), ['saves', 'replays']);
  assert.deepEqual(adviceOn({ starting: 300, waitingForHost: 400 }), ['starts', 'host']);
});

test('advises on numerics and memory where the device has more to give', () => {
  assert.deepEqual(adviceOn({}, { recipe: 'fp32' }), ['full-precision']);
  assert.deepEqual(adviceOn({}, { recipe: 'fp32', device: 'cpu' }), []);
  assert.deepEqual(adviceOn({}, { peakMemoryBytes: 3e10, ranks: 4 }), ['memory']);
  assert.deepEqual(adviceOn({}, { peakMemoryBytes: 3e10, ranks: 8 }), [], 'twice would be above the global batch');
});

test('says nothing of a training that left no account, as one of an earlier version', () => {
  assert.equal(goodputFacts(undefined, summaries.train, spec), null);
});
