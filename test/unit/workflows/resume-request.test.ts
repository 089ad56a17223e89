import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunSpec } from '../../../contracts/run-spec.ts';
import type { StageName } from '../../../contracts/stages.ts';
import type { StageStatus } from '../../../contracts/workflow-api.ts';
import { hasChanges, objectionTo } from '../../../workflows/resume-request.ts';
import { RunRecord } from '../../../workflows/run-record.ts';
import { specOf } from '../../fixtures/run-spec.ts';

type States = Partial<Record<StageName, StageStatus['state']>>;

function runWith(states: States = {}, parked = false): RunRecord {
  const run = new RunRecord();
  for (const [name, state] of Object.entries(states)) run.stage(name as StageName).state = state;
  if (parked) run.park({ stage: 'train', reason: '', holds: '', advice: '', since: '', until: '' });
  return run;
}

const objection = (request: unknown, states?: States, parked = true, spec: RunSpec | null = specOf()): string | null =>
  objectionTo(request, runWith(states, parked), spec);

test('a parked run takes a resume without changes', () => {
  for (const request of [{}, { changes: {} }, { changes: { train: {} } }, { changes: undefined }]) {
    assert.equal(objection(request), null);
  }
});

test('a run that is not parked refuses a resume that would do nothing', () => {
  for (const request of [{}, { changes: {} }, { changes: { train: {}, eval: {} } }]) {
    assert.match(objection(request, {}, false) ?? '', /^The run is running, not parked; .* nothing to do; look at /);
  }
  const ended = runWith();
  ended.end('failed');
  assert.match(objectionTo({}, ended, specOf()) ?? '', /^The run is failed, not parked/);
});

test('changes are kept whenever they arrive', () => {
  const changes = { changes: { train: { microBatchSize: 2 } } };
  for (const parked of [true, false]) {
    for (const state of ['waiting', 'running', 'failed'] as const) {
      assert.equal(objection(changes, { train: state }, parked), null);
    }
    assert.equal(objection(changes, {}, parked, null), null);
  }
});

test('a run that waits at its cap goes on only under a higher one', () => {
  const run = runWith({}, true);
  run.spend('train', 2 * 3600);
  const spec = specOf({ policy: { maxGpuHours: 2 } });
  for (const request of [{}, { changes: { train: { queue: 'x' } } }, { changes: { policy: { maxGpuHours: 1.5 } } }]) {
    assert.match(
      objectionTo(request, run, spec) ?? '',
      /^policy\.maxGpuHours is [12.5]+, and 2\.00 .*above that; write /,
    );
  }
  for (const maxGpuHours of [2.5, null]) {
    assert.equal(objectionTo({ changes: { policy: { maxGpuHours } } }, run, spec), null);
  }
});

/** Request, and what is said about it. */
const senseless: [unknown, RegExp][] = [
  [null, /^resume got null; expected an object; write \{\} or /],
  [[], /^resume got \[\]; expected an object/],
  ['now', /^resume got "now"; expected an object/],
  [{ change: {} }, /^resume does not know change; expected only "changes"; write /],
  [{ train: { epochs: 1 } }, /^resume does not know train;/],
  [{ changes: null }, /^The changes were not taken\. .*null; expected an object/],
  [{ changes: { report: {} } }, /report is not a field .*; expected one of train, eval, policy/],
  [{ changes: { train: { epoch: 1 } } }, /train\.epoch is not a field .*did you mean train\.epochs\?/],
  [{ changes: { train: { epochs: '1' } } }, /train\.epochs is "1"; expected a number/],
  [{ changes: { train: { microBatchSize: 3 } } }, /globalBatchSize 16 is not a multiple of train\.microBatchSize 3/],
  [{ changes: { eval: { sampler: { maxNewTokens: 4096 } } } }, /leaves no room for a prompt/],
];
for (const [request, text] of senseless) {
  test(`says what is wrong with ${JSON.stringify(request)}`, () => {
    assert.match(objection(request) ?? 'taken', text);
  });
}

test('a wrong name is told before resolve has ended, too', () => {
  assert.match(objection({ changes: { train: { epoch: 1 } } }, {}, true, null) ?? '', /did you mean train\.epochs\?/);
});

const train = { changes: { train: { epochs: 1 } } };
const queue = { changes: { train: { queue: 'big' } } };
const seed = { changes: { eval: { seed: 1 } } };
const length = { changes: { eval: { sampler: { maxNewTokens: 64 } } } };
const both = { changes: { ...train.changes, ...seed.changes } };
/** Request, states of the stages, and the stages that stand against it. */
const settled: [object, States, string | null][] = [
  [train, { train: 'done' }, 'train, which is'],
  [train, { train: 'cached' }, 'train, which is'],
  [train, { 'eval base': 'done' }, null],
  [queue, { train: 'done', 'eval base': 'done', 'eval tuned': 'failed' }, null],
  [seed, { train: 'done' }, null],
  [seed, { train: 'done', 'eval base': 'failed', 'eval tuned': 'failed' }, null],
  [seed, { 'eval base': 'done' }, 'eval base, which is'],
  [seed, { 'eval base': 'running' }, 'eval base, which is'],
  [seed, { 'eval base': 'failed', 'eval tuned': 'running' }, 'eval tuned, which is'],
  [seed, { filter: 'done' }, null],
  [length, { filter: 'done' }, 'filter, which is'],
  [length, { filter: 'running' }, 'filter, which is'],
  [length, { filter: 'failed' }, null],
  [both, { train: 'done', 'eval base': 'cached' }, 'train and eval base, which are'],
];
for (const [request, states, against] of settled) {
  const what = JSON.stringify(request);
  test(`with ${JSON.stringify(states)}, ${what} is ${against === null ? 'taken' : `refused for ${against.split(',')[0]}`}`, () => {
    const said = objection(request, states);
    if (against === null) assert.equal(said, null);
    else assert.ok(said?.includes(`they would alter ${against} finished or at work; `), said ?? 'taken');
  });
}

test('tells changes from none', () => {
  for (const none of [undefined, {}, { train: {} }, { train: {}, eval: {} }]) assert.ok(!hasChanges(none));
  for (const some of [{ train: { epochs: 1 } }, { train: {}, eval: { seed: 1 } }]) assert.ok(hasChanges(some));
});
