import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { forgetDownload } from '../../../../activities/download/download.ts';
import { openHubTree } from '../../../../activities/download/hub-tree.ts';
import type { SourceKind } from '../../../../activities/download/source.ts';
import { type HubServer, startHubServer } from '../../../fixtures/hub-server.ts';

const rows = (path: string): string => `{"question": "${path}"}\n`;
const shards = Array.from({ length: 7 }, (_, index) => `data/train-0000${index}-of-00007.jsonl`);

let hub: HubServer;
let cacheDir: string;
before(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'hub-tree-'));
  hub = await startHubServer({
    pageSize: 3,
    token: 'secret',
    repos: [
      {
        type: 'dataset',
        name: 'owner/rows',
        files: { ...Object.fromEntries(shards.map((path) => [path, rows(path)])), 'README.md': '# Rows\n' },
      },
      { type: 'model', name: 'owner/gated', gated: true, files: { 'config.json': '{}' } },
    ],
  });
});
after(async () => {
  await hub.close();
  await rm(cacheDir, { recursive: true });
});

function open(
  kind: SourceKind,
  name: string,
  { revision = 'main', token = null as string | null, endpoint = hub.url } = {},
) {
  return openHubTree(
    kind,
    { type: 'hub', name, revision, uri: `hf://${name}` },
    { cacheDir, hub: { endpoint, token } },
  );
}

test('lists every page and pins the branch to its commit', async () => {
  const tree = await open('dataset', 'owner/rows');
  assert.deepEqual(
    tree.files.map((file) => file.path),
    ['README.md', ...shards],
  );
  assert.deepEqual(await tree.pin(tree.files), {
    source: 'hf://owner/rows',
    revision: hub.commitOf('dataset', 'owner/rows'),
  });
  assert.ok(hub.requests.filter((request) => request.url.includes('cursor=')).length >= 2, 'the list had pages');
});

test('saves the pinned commit after the branch has moved on', async () => {
  const pinned = await (await open('dataset', 'owner/rows')).pin([]);
  hub.push({ type: 'dataset', name: 'owner/rows', files: { 'data/train.jsonl': 'other\n' } });
  const tree = await open('dataset', 'owner/rows', { revision: pinned.revision });
  const dir = await mkdtemp(join(cacheDir, 'out-'));
  await tree.save(tree.files, pinned, dir);
  assert.equal(await readFile(join(dir, shards[3] ?? ''), 'utf8'), rows(shards[3] ?? ''));
  assert.equal((await readdir(join(dir, 'data'))).length, 7);
  // Kept until the artifact is committed, then forgotten.
  assert.equal((await readdir(join(cacheDir, 'downloads'))).length, 1);
  await forgetDownload('dataset', pinned, { cacheDir, hub: { endpoint: hub.url, token: null } });
  assert.deepEqual(await readdir(join(cacheDir, 'downloads')), []);
});

test('two downloads of one commit at once come out whole', async () => {
  const tree = await open('dataset', 'owner/rows');
  const pinned = await tree.pin([]);
  const dirs = [await mkdtemp(join(cacheDir, 'out-')), await mkdtemp(join(cacheDir, 'out-'))];
  await Promise.all(dirs.map((dir) => tree.save(tree.files, pinned, dir)));
  for (const dir of dirs) assert.equal(await readFile(join(dir, 'data/train.jsonl'), 'utf8'), 'other\n');
});

test('an unknown revision is named', async () => {
  await assert.rejects(open('dataset', 'owner/rows', { revision: 'v9' }), {
    type: 'DatasetRejected',
    message: /has no revision "v9"; expected a branch, a tag or a commit.*dataset\.revision/,
  });
});

test('a repository that is not there may be private', async () => {
  await assert.rejects(open('model', 'owner/nothing'), {
    type: 'ModelRejected',
    message:
      /Model hf:\/\/owner\/nothing@main is not on http.*or it is private.*spelling of model\.source, or set HF_TOKEN/,
  });
});

test('a gated repository is refused without a token and read with one', async () => {
  const closed = await open('model', 'owner/gated');
  const [config] = closed.files;
  assert.ok(config);
  await assert.rejects(closed.checkAccess(config), {
    type: 'ModelRejected',
    message: /is gated and HF_TOKEN is not set/,
  });
  const wrong = await open('model', 'owner/gated', { token: 'wrong' });
  await assert.rejects(wrong.read('config.json'), { message: /the account of HF_TOKEN has no access/ });
  const opened = await open('model', 'owner/gated', { token: 'secret' });
  assert.equal((await opened.read('config.json')).toString(), '{}');
});

test('a Hub that cannot be reached is a failure to try again, within seconds', async () => {
  const started = performance.now();
  await assert.rejects(open('model', 'owner/gated', { endpoint: 'http://127.0.0.1:9' }), {
    type: 'StoreUnavailable',
    message:
      /The Hub at http:\/\/127\.0\.0\.1:9 did not serve model hf:\/\/owner\/gated@main.*check the worker's network and HF_ENDPOINT/,
  });
  assert.ok(performance.now() - started < 5000);
});
