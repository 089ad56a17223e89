/** Resolve and both downloads as a worker runs them, from a Hub to a store. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import { createDownloadActivities } from '../../../../activities/download/activity.ts';
import { createResolveActivities } from '../../../../activities/resolve/activity.ts';
import { Artifacts } from '../../../../activities/store/artifacts.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { startHubServer } from '../../../fixtures/hub-server.ts';
import { tinyModel } from '../../../fixtures/tiny-model.ts';

test('a run pins, downloads once, and hits the store from then on', async (context) => {
  const root = await mkdtemp(join(tmpdir(), 'download-activity-'));
  const hub = await startHubServer({
    repos: [
      { type: 'model', name: 'owner/tiny', files: tinyModel() },
      { type: 'dataset', name: 'owner/rows', files: { 'train.jsonl': '{"question": "1 + 1"}\n' } },
    ],
  });
  context.after(async () => {
    await hub.close();
    await rm(root, { recursive: true });
  });
  const cacheDir = join(root, 'cache');
  const store = new FileStore(join(root, 'store'));
  const artifacts = new Artifacts(store, cacheDir);
  const deps = {
    store,
    artifacts,
    cacheDir,
    python: 'python3',
    hub: { endpoint: hub.url, token: null },
    log: pino({ level: 'silent' }),
  };
  const activities = { ...createResolveActivities(deps), ...createDownloadActivities(deps) };
  const inActivity = <T>(run: () => Promise<T>): Promise<T> =>
    new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(run);

  const spec = { model: { source: 'hf://owner/tiny' }, dataset: { source: 'hf://owner/rows' } };
  const resolved = await inActivity(() => activities.resolve({ spec }));
  assert.deepEqual(await readdir(root), [], 'resolve writes nothing');

  const dataset = await inActivity(() => activities.downloadDataset(resolved));
  const model = await inActivity(() => activities.downloadModel(resolved));
  assert.deepEqual([dataset.cached, model.cached], [false, false]);
  assert.deepEqual(model.summary, {
    ...resolved.model,
    files: 7,
    bytes: Object.entries(tinyModel()).reduce(
      (sum, [name, content]) => sum + (name.endsWith('.py') ? 0 : Buffer.byteLength(content)),
      0,
    ),
  });
  const rows = await artifacts.fetch(dataset.artifact);
  assert.equal(await readFile(join(rows, 'train.jsonl'), 'utf8'), '{"question": "1 + 1"}\n');
  assert.ok((await readdir(await artifacts.fetch(model.artifact))).includes('tokenizer.json'));
  assert.deepEqual(await readdir(join(cacheDir, 'downloads')), [], 'what was kept to continue from is gone');

  hub.requests.length = 0;
  const again = await inActivity(() => activities.downloadModel(resolved));
  assert.deepEqual([again.cached, again.artifact], [true, model.artifact]);
  assert.deepEqual(hub.requests, []);

  await assert.rejects(
    inActivity(() => activities.resolve({ spec: { dataset: { source: '/no/rows' } } })),
    (error) => {
      assert.ok(error instanceof ApplicationFailure);
      assert.deepEqual([error.type, error.nonRetryable], ['DatasetRejected', true]);
      return true;
    },
  );
});
