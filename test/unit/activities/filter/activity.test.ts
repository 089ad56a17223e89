/** convert and filter as the worker runs them: artifacts in, artifacts out, in a mocked activity context. */
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { createConvertActivities } from '../../../../activities/convert/activity.ts';
import { createFilterActivities } from '../../../../activities/filter/activity.ts';
import { Artifacts } from '../../../../activities/store/artifacts.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { runSpecSchema } from '../../../../contracts/run-spec.ts';
import type { ArtifactRef } from '../../../../contracts/stages.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';
import { tinyModel } from '../../../fixtures/tiny-model.ts';

const spec = runSpecSchema.parse({
  dataset: { mapping: { preset: 'generic' } },
  filter: { maxTokens: 512 },
  eval: { sampler: { maxNewTokens: 16 } },
});
const rows = (count: number, answer: string): string =>
  Array.from({ length: count }, (_, index) => `${JSON.stringify({ question: `q${index}`, answer })}\n`).join('');

async function setUp(context: TestContext) {
  const root = await scratchFolder(context);
  const store = new FileStore(join(root, 'store'));
  const artifacts = new Artifacts(store, join(root, 'cache'));
  const hub = { endpoint: 'http://localhost', token: null };
  const deps = {
    store,
    artifacts,
    cacheDir: join(root, 'cache'),
    python: 'python3',
    hub,
    log: pino({ level: 'silent' }),
  };
  const commit = async (stage: 'dataset' | 'model', files: Record<string, string | Buffer>): Promise<ArtifactRef> => {
    const folder = join(root, stage);
    await mkdir(folder);
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    return artifacts.ref(await artifacts.commit(stage, '0'.repeat(64), folder, {}));
  };
  const environment = new MockActivityEnvironment({ activityType: 'filter' });
  const run = <T>(work: () => Promise<T>): Promise<T> => environment.run<[], T, () => Promise<T>>(work);
  const activities = { ...createConvertActivities(deps), ...createFilterActivities(deps) };
  return {
    root,
    commit,
    convert: (dataset: ArtifactRef) => run(() => activities.convert({ spec, dataset })),
    filter: (converted: ArtifactRef, model: ArtifactRef) => run(() => activities.filter({ spec, converted, model })),
  };
}

test('a data set becomes a filtered artifact, and the second time both stages are hits', async (t) => {
  const { commit, convert, filter } = await setUp(t);
  const dataset = await commit('dataset', { 'train.jsonl': rows(20, 'a'), 'README.md': '# card' });
  const model = await commit('model', tinyModel());
  const converted = await convert(dataset);
  assert.deepEqual([converted.cached, converted.summary.train, converted.summary.validation], [false, 18, 2]);
  const filtered = await filter(converted.artifact, model);
  assert.deepEqual([filtered.cached, filtered.summary.train.kept, filtered.summary.validation.kept], [false, 18, 2]);
  assert.equal((await convert(dataset)).cached, true);
  assert.deepEqual(await filter(converted.artifact, model), { ...filtered, cached: true, seconds: 0 });
});

test('bad data fails the activity as DatasetRejected, not to be retried, and leaves no artifact', async (t) => {
  const { commit, convert, filter, root } = await setUp(t);
  const dataset = await commit('dataset', { 'train.jsonl': rows(20, 'see <|mask|>') });
  const model = await commit('model', tinyModel());
  const { artifact } = await convert(dataset);
  await assert.rejects(filter(artifact, model), (error) => {
    assert.ok(error instanceof ApplicationFailure);
    assert.equal(error.type, 'DatasetRejected');
    assert.equal(error.nonRetryable, true);
    assert.match(error.message, /^20 rows hold a special token/);
    return true;
  });
  assert.deepEqual((await readdir(join(root, 'store', 'artifacts'))).sort(), ['convert', 'dataset', 'model']);
});
