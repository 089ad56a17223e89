import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FailureType, failureTypes } from '../../../contracts/failures.ts';
import { type StageName, stageNames } from '../../../contracts/stages.ts';
import { advise } from '../../../workflows/advice.ts';
import { type Decision, decide, type StageFailure } from '../../../workflows/decisions.ts';
import { specOf } from '../../fixtures/run-spec.ts';

const defaults = specOf();

function failureOf(type: FailureType | null, details: Record<string, unknown> = {}): StageFailure {
  return { type, message: `${type} happened`, details };
}

/** Decisions over `times` failures of one type in a row, each on the spec that the one before left. */
function inARow(times: number, failure: StageFailure, spec = defaults, stage: StageName = 'train'): Decision[] {
  const decisions: Decision[] = [];
  let current = spec;
  for (let before = 0; before < times; before++) {
    const decision = decide(failure, stage, { [failure.type ?? 'unknown']: before }, current);
    if (decision.train) current = { ...current, train: { ...current.train, ...decision.train } };
    decisions.push(decision);
  }
  return decisions;
}

const kinds = (decisions: Decision[]): string => decisions.map(({ kind }) => kind[0]).join('');

/** Type, details, how failures in a row are taken (again, park, fail), and the waits before the first of them. */
const rows: [FailureType | null, Record<string, unknown>, string, number[]][] = [
  ['Preempted', { step: 3 }, 'aaaaaaaa', [0]],
  ['Diverged', { step: 3 }, 'aap', [0, 0]],
  ['TrainerHung', {}, 'aaap', [0, 0, 0]],
  ['HardwareFault', {}, 'aaap', [10, 10, 10]],
  ['TrainerCrashed', {}, 'aap', [0, 0]],
  ['StoreUnavailable', {}, `${'a'.repeat(20)}p`, [15, 30, 60, 120, 240, 480, 900, 900]],
  ['DiskFull', {}, `${'a'.repeat(20)}p`, [15, 30, 60]],
  ['ArtifactMissing', {}, 'aap', [0, 0]],
  ['NoProgress', {}, 'p', []],
  ['CapReached', { maxGpuHours: 2 }, 'aaa', [0]], // Under no cap: a person has taken it away.
  ['CheckpointLost', {}, 'p', []],
  ['InvalidSpec', {}, 'f', []],
  ['DatasetRejected', {}, 'f', []],
  ['ModelRejected', {}, 'f', []],
  [null, {}, 'aap', [30, 30]],
];

for (const [type, details, expected, waits] of rows) {
  test(`${type ?? 'an error without a name'} in a row: ${expected.replace(/a{5,}/, (many) => `${many.length} × a, `)}`, () => {
    const decisions = inARow(expected.length, failureOf(type, details));
    assert.equal(kinds(decisions), expected);
    assert.deepEqual(
      decisions.slice(0, waits.length).map(({ delaySeconds }) => delaySeconds),
      waits,
    );
  });
}

test('every failure type has its row', () => {
  const listed = new Set([...rows.map(([type]) => type), 'OutOfMemory', null]);
  assert.deepEqual(listed, new Set([...failureTypes, null]));
});

const budgets: [keyof typeof defaults.policy, FailureType][] = [
  ['maxDivergences', 'Diverged'],
  ['maxHangs', 'TrainerHung'],
  ['maxHardwareFaults', 'HardwareFault'],
  ['maxCrashes', 'TrainerCrashed'],
  ['maxStoreFailures', 'StoreUnavailable'],
  ['maxStoreFailures', 'DiskFull'],
];
for (const [budget, type] of budgets) {
  test(`policy.${budget} bounds ${type}`, () => {
    for (const tries of [0, 1, 5]) {
      const decisions = inARow(tries + 1, failureOf(type, { step: 1 }), specOf({ policy: { [budget]: tries } }));
      assert.equal(kinds(decisions), `${'a'.repeat(tries)}p`);
    }
  });
}

test('a budget that is used up says how often it was tried', () => {
  const at = (tries: number) =>
    decide(failureOf('TrainerHung'), 'train', { TrainerHung: tries }, specOf({ policy: { maxHangs: tries } }));
  assert.equal(at(0).action, 'waits for a person: no try is left to it');
  assert.equal(at(1).action, 'waits for a person: tried again once after TrainerHung');
  assert.equal(at(3).action, 'waits for a person: tried again 3 times after TrainerHung');
});

test('one type does not use up the budget of another', () => {
  const counts = { TrainerHung: 9, Diverged: 9, HardwareFault: 9, StoreUnavailable: 99, unknown: 9 };
  assert.equal(decide(failureOf('TrainerCrashed'), 'train', counts, defaults).kind, 'again');
});

test('a cap that is used up parks, unless a person has raised it meanwhile', () => {
  const kindUnder = (maxGpuHours: number) =>
    decide(failureOf('CapReached', { maxGpuHours: 2 }), 'train', {}, specOf({ policy: { maxGpuHours } })).kind;
  assert.deepEqual([2, 1, 2.5].map(kindUnder), ['park', 'park', 'again']);
});

/** Global batch, micro-batch that ran out, and what is tried after it. */
const ladders: [number, number, number[]][] = [
  [16, 16, [8, 4, 2, 1]],
  [16, 4, [2, 1]],
  [16, 1, []],
  [12, 12, [6, 3, 1]],
  [15, 15, [5, 1]],
  [7, 7, [1]],
  [10, 5, [2, 1]],
  [100, 25, [10, 5, 2, 1]],
];
for (const [globalBatchSize, first, then] of ladders) {
  test(`out of memory at micro-batch ${first} of ${globalBatchSize}: ${[...then, 'recompute', 'park'].join(', ')}`, () => {
    let spec = specOf({ train: { globalBatchSize, microBatchSize: first, activationCheckpointing: false } });
    const tried: unknown[] = [];
    let kind = 'again';
    while (kind === 'again') {
      const { microBatchSize } = spec.train;
      const decision = decide(failureOf('OutOfMemory', { microBatchSize }), 'train', {}, spec);
      kind = decision.kind;
      if (decision.train) {
        tried.push(decision.train.microBatchSize ?? 'recompute');
        spec = { ...spec, train: { ...spec.train, ...decision.train } };
        assert.equal(globalBatchSize % spec.train.microBatchSize, 0);
      }
    }
    assert.deepEqual([...tried, kind], [...then, 'recompute', 'park']);
  });
}

test('the ladder starts from the micro-batch that ran, and never above what the spec asks for by now', () => {
  const spec = specOf({ train: { globalBatchSize: 16, microBatchSize: 1, activationCheckpointing: false } });
  const ran = (microBatchSize: unknown) =>
    decide(failureOf('OutOfMemory', { microBatchSize }), 'train', {}, spec).train;
  assert.deepEqual(ran(8), { microBatchSize: 1 });
  assert.deepEqual(ran(1), { activationCheckpointing: true });
  for (const senseless of [0, -1, '4', null, undefined, Number.NaN]) {
    assert.deepEqual(ran(senseless), { activationCheckpointing: true }, String(senseless));
  }
});

test('out of memory, a micro-batch that is part of what is learned stays', () => {
  const train = {
    microBatchSize: 4,
    activationCheckpointing: false,
    objective: { normalisation: 'micro-batch-means' },
  } as const;
  const decisions = inARow(2, failureOf('OutOfMemory', { microBatchSize: 4 }), specOf({ train }));
  assert.deepEqual(decisions[0]?.train, { activationCheckpointing: true });
  assert.equal(decisions[1]?.kind, 'park');
});

test('out of memory in any other stage never changes the training', () => {
  for (const stage of stageNames.filter((name) => name !== 'train')) {
    const decision = decide(failureOf('OutOfMemory', { microBatchSize: 8 }), stage, {}, defaults);
    assert.equal(decision.kind, 'park', stage);
    assert.equal(decision.train, undefined, stage);
  }
});

test('a divergence leaves out the step that it names, and waits where it names none', () => {
  const decision = decide(failureOf('Diverged', { step: 12, rows: [1] }), 'train', { Diverged: 1 }, defaults);
  assert.equal(decision.leaveOutStep, 12);
  assert.equal(decision.action, 'goes back to the checkpoint before step 12 and leaves its batch out (2 of 2)');
  for (const step of [undefined, null, '12']) {
    const unnamed = decide(failureOf('Diverged', { step }), 'train', {}, defaults);
    assert.equal(unnamed.kind, 'park');
    assert.equal(unnamed.leaveOutStep, undefined);
  }
});

test('advice for every failure says what to press, as the UI writes it', () => {
  for (const type of [...failureTypes, null]) {
    for (const stage of stageNames) {
      const advice = advise(failureOf(type), stage);
      assert.match(advice, /(^P|Then p)ress \*\*More Actions\*\* → \*\*Send an Update\*\* → `resume` with/, advice);
      assert.doesNotMatch(advice, /undefined|\.\./, advice);
      assert.match(advice, /\.$/);
    }
  }
});

test('changes that advice spells out are ones that a run accepts', () => {
  for (const type of ['OutOfMemory', 'Diverged', 'CapReached'] as const) {
    for (const stage of ['train', 'eval base'] as const) {
      for (const [, json] of advise(failureOf(type, { maxGpuHours: 2 }), stage).matchAll(/`(\{"changes".*?\})`/g)) {
        const { changes } = JSON.parse(json ?? '');
        specOf(changes);
      }
    }
  }
});
