import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunSpec } from '../../../contracts/run-spec.ts';
import { parseRunSpec } from '../../../contracts/spec-problems.ts';
import * as keys from '../../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage } from '../../../contracts/stages.ts';

type Tree = Record<string, unknown>;

const ref = (stage: ArtifactStage, digest: string): ArtifactRef => ({ stage, key: `key of ${digest}`, digest });
const dataset = ref('dataset', 'd1');
const model = ref('model', 'm1');
const converted = ref('convert', 'c1');
const filtered = ref('filter', 'f1');

function defaults(): RunSpec {
  const result = parseRunSpec({});
  assert.ok(result.ok);
  return result.spec;
}

const keysOf = (spec: RunSpec) => ({
  convert: keys.convertKey(spec, dataset),
  filter: keys.filterKey(spec, converted, model),
  train: keys.trainKey(spec, filtered, model),
  eval: keys.evalKey(spec, filtered, model),
});

/** Which keys each field of the spec is part of; the longest prefix counts. Every field must be told here. */
const decides: Record<string, string[]> = {
  model: [], // By its digest.
  'dataset.source': [],
  'dataset.revision': [],
  'dataset.split': [], // Part of the download's key.
  'dataset.mapping': ['convert'],
  'dataset.validationFraction': ['convert'],
  'dataset.splitSeed': ['convert'],
  'filter.maxTokens': ['filter', 'train', 'eval'],
  'filter.thresholds': ['filter'],
  train: ['train'],
  'train.queue': [],
  'train.microBatchSize': [],
  'train.activationCheckpointing': [],
  'train.activationBudget': [],
  'train.sharding': [],
  'train.validateEverySteps': [],
  'train.checkpointEverySteps': [],
  'train.spikeFactor': [],
  'train.trackers': [],
  'train.trackerProject': [],
  'train.trackerRun': [],
  eval: ['eval'],
  'eval.sampler.maxNewTokens': ['filter', 'eval'], // The room that a validation prompt has to leave.
  promote: [],
  report: [],
  policy: [],
};

function leaves(tree: Tree, path: string[] = []): string[][] {
  return Object.entries(tree).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? leaves(value as Tree, [...path, name])
      : [[...path, name]],
  );
}

/** The spec with another value at `path`; keys are taken over values, whatever they are. */
function changed(spec: RunSpec, path: string[]): RunSpec {
  const copy = structuredClone(spec) as unknown as Tree;
  const parent = path.slice(0, -1).reduce<Tree>((at, name) => at[name] as Tree, copy);
  parent[path.at(-1) ?? ''] = 'changed';
  return copy as unknown as RunSpec;
}

const before = keysOf(defaults());
for (const path of leaves(defaults())) {
  const field = path.join('.');
  const rule = Object.keys(decides)
    .filter((prefix) => field === prefix || field.startsWith(`${prefix}.`))
    .sort((a, b) => b.length - a.length)[0];
  test(`${field} changes ${rule === undefined ? '?' : decides[rule]?.join(', ') || 'no key'}`, () => {
    assert.ok(rule !== undefined, `${field} is new; say in this test which keys it is part of`);
    const after = keysOf(changed(defaults(), path));
    const differing = Object.entries(after).filter(([stage, key]) => key !== before[stage as keyof typeof before]);
    assert.deepEqual(
      differing.map(([stage]) => stage),
      decides[rule],
    );
  });
}

test('the micro-batch is part of the train key under the normalisation that depends on it', () => {
  const make = (microBatchSize: number): string => {
    const spec = defaults();
    spec.train.objective.normalisation = 'micro-batch-means';
    return keys.trainKey({ ...spec, train: { ...spec.train, microBatchSize } }, filtered, model);
  };
  assert.notEqual(make(1), make(2));
});

test('each key follows the digests of its inputs, not their own keys', () => {
  const spec = defaults();
  const other = { digest: 'other' };
  const renamed = { key: 'other' };
  assert.notEqual(keys.convertKey(spec, { ...dataset, ...other }), before.convert);
  assert.notEqual(keys.filterKey(spec, { ...converted, ...other }, model), before.filter);
  assert.notEqual(keys.filterKey(spec, converted, { ...model, ...other }), before.filter);
  assert.notEqual(keys.trainKey(spec, { ...filtered, ...other }, model), before.train);
  assert.notEqual(keys.trainKey(spec, filtered, { ...model, ...other }), before.train);
  assert.notEqual(keys.evalKey(spec, filtered, { ...model, ...other }), before.eval);
  assert.equal(keys.trainKey(spec, { ...filtered, ...renamed }, { ...model, ...renamed }), before.train);
});

test('a download is keyed by source, revision and split', () => {
  const pinned = { source: 'hf://a/b', revision: '1' };
  const all = [
    keys.datasetKey(pinned, 'train'),
    keys.datasetKey(pinned, 'test'),
    keys.datasetKey({ ...pinned, revision: '2' }, 'train'),
    keys.datasetKey({ ...pinned, source: 'hf://a/c' }, 'train'),
    keys.modelKey(pinned),
    keys.modelKey({ ...pinned, revision: '2' }),
  ];
  assert.equal(new Set(all).size, all.length);
  for (const key of all) assert.match(key, /^[0-9a-f]{64}$/);
});
