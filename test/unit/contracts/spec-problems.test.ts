import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyChanges, parseRunSpec } from '../../../contracts/spec-problems.ts';

/** The problems of a spec that must have some. */
function problemsOf(input: unknown): string[] {
  const result = parseRunSpec(input);
  assert.ok(!result.ok, `${JSON.stringify(input)} was accepted`);
  return result.problems;
}

test('fills every default and keeps what was given', () => {
  const result = parseRunSpec({ train: { epochs: 7 } });
  assert.ok(result.ok);
  assert.equal(result.spec.train.epochs, 7);
  assert.equal(result.spec.train.globalBatchSize, 16);
  assert.equal(result.spec.dataset.source, 'hf://simplescaling/s1K-1.1');
});

test('names what came where an object was expected', () => {
  for (const [input, words] of [
    [[], 'an array'],
    ['{}', '"{}"'],
    [null, 'null'],
    [undefined, 'undefined'],
  ] as const) {
    assert.deepEqual(problemsOf(input), [
      `The run spec is ${words}; expected a JSON object; write {} for the defaults.`,
    ]);
  }
});

test('names the field that an unknown one is nearest to', () => {
  for (const [input, meant] of [
    [{ mdoel: {} }, 'model'],
    [{ train: { globalBatchSzie: 8 } }, 'train.globalBatchSize'],
    [{ train: { micro_batch_size: 8 } }, 'train.microBatchSize'],
    [{ dataset: { mapping: { qustion: 'q' } } }, 'dataset.mapping.question'],
    [{ policy: { phaseDeadlineSeconds: { trian: 1 } } }, 'policy.phaseDeadlineSeconds.train'],
  ] as const) {
    const [problem, ...more] = problemsOf(input);
    assert.equal(more.length, 0);
    assert.match(
      problem ?? '',
      new RegExp(`is not a field of the run spec; expected one of .*; did you mean ${meant}\\?$`),
    );
  }
});

test('finds a right name in the wrong group', () => {
  assert.match(
    problemsOf({ train: { learningRate: 1e-5 } })[0] ?? '',
    /did you mean train\.optimizer\.learningRate\?$/,
  );
  assert.match(problemsOf({ epochs: 1 })[0] ?? '', /did you mean train\.epochs\?$/);
  assert.match(problemsOf({ train: { learnngRate: 1 } })[0] ?? '', /did you mean train\.optimizer\.learningRate\?$/);
});

test('tells to remove a field that is like nothing known', () => {
  assert.match(problemsOf({ wandb: true })[0] ?? '', /^wandb is not a field .*; remove it\.$/);
});

test('reports every unknown field at once', () => {
  assert.equal(problemsOf({ wandb: 1, tensorboard: 1, train: { fp8: true } }).length, 3);
});

test('says in words what was expected', () => {
  for (const [input, problem] of [
    [{ train: { globalBatchSize: '16' } }, 'train.globalBatchSize is "16"; expected a number'],
    [{ train: { epochs: 1.5 } }, 'train.epochs is 1.5; expected a whole number'],
    [{ train: { seed: -1 } }, 'train.seed is -1; expected a value of at least 0'],
    [{ train: null }, 'train is null; expected an object'],
    [{ dataset: { validationFraction: 1 } }, 'dataset.validationFraction is 1; expected a value below 1'],
    [{ train: { backend: 'hf' } }, 'train.backend is "hf"; expected one of "dream"'],
    [{ eval: { qualitativePrompts: [''] } }, 'eval.qualitativePrompts.0 is ""; expected a length of at least 1'],
    [{ promote: { name: 'a b' } }, 'promote.name is "a b"; expected text that matches /^[A-Za-z0-9._-]{1,64}$/'],
  ] as const) {
    assert.deepEqual(problemsOf(input), [`${problem}; correct it or leave the field out for its default.`]);
  }
});

test('refuses a global batch that is no whole number of micro-batches, and says which would do', () => {
  assert.deepEqual(problemsOf({ train: { globalBatchSize: 6 } }), [
    'train.globalBatchSize 6 is not a multiple of train.microBatchSize 4; expected a whole number of micro-batches a step; use 8 or set microBatchSize 1.',
  ]);
});

test('refuses an answer as long as the whole context, and a cadence whose floor is above its ceiling', () => {
  assert.match(problemsOf({ filter: { maxTokens: 512 } })[0] ?? '', /^eval\.sampler\.maxNewTokens 512 leaves no room/);
  assert.match(problemsOf({ policy: { minCheckpointSeconds: 1801 } })[0] ?? '', /expected floor ≤ ceiling/);
});

test('lays changes over a spec and leaves every other field as it was', () => {
  const before = parseRunSpec({
    train: { globalBatchSize: 32, objective: { weighting: 'linear' } },
    eval: { qualitativePrompts: ['a', 'b'] },
  });
  assert.ok(before.ok);
  const after = applyChanges(before.spec, {
    train: { microBatchSize: 1, objective: { cartP: 0.2 }, threads: null },
    eval: { qualitativePrompts: ['c'] },
  });
  assert.ok(after.ok);
  assert.deepEqual(after.spec, {
    ...before.spec,
    train: { ...before.spec.train, microBatchSize: 1, objective: { ...before.spec.train.objective, cartP: 0.2 } },
    eval: { ...before.spec.eval, qualitativePrompts: ['c'] },
  });
});

test('checks the spec that changes would make', () => {
  const before = parseRunSpec({});
  assert.ok(before.ok);
  const after = applyChanges(before.spec, { train: { microBatchSize: 5 } });
  assert.ok(!after.ok);
  assert.match(after.problems[0] ?? '', /^train\.globalBatchSize 16 is not a multiple of train\.microBatchSize 5/);
});

test('refuses changes to what a run in flight cannot change', () => {
  const before = parseRunSpec({});
  assert.ok(before.ok);
  const after = applyChanges(before.spec, { dataset: { splitSeed: 1 } });
  assert.ok(!after.ok);
  assert.match(after.problems[0] ?? '', /^dataset is not a field .*; expected one of train, eval, policy;/);
});
