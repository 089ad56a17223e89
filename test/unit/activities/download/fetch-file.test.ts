import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fetchFile } from '../../../../activities/download/fetch-file.ts';
import { HubClient } from '../../../../activities/download/hub-client.ts';
import type { SourceFile } from '../../../../activities/download/source-tree.ts';
import type { Transfer } from '../../../../activities/store/store.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { type Fault, type HubServer, startHubServer } from '../../../fixtures/hub-server.ts';

const NAME = 'owner/weights';
const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 251));
const sha256 = createHash('sha256').update(bytes).digest('hex');
const path = 'model.safetensors';
const file: SourceFile = { path, size: bytes.length, hash: { algorithm: 'sha256', hex: sha256 } };

let hub: HubServer;
let dir: string;
let to: string;

before(async () => {
  hub = await startHubServer({
    repos: [{ type: 'model', name: NAME, files: { [path]: bytes, 'config.json': '{"a": 1}' } }],
  });
});
after(() => hub.close());
afterEach(() => rm(dir, { recursive: true }));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fetch-file-'));
  to = join(dir, path);
  hub.requests.length = 0;
});

function fetchIt(wanted: SourceFile = file, transfer: Transfer = {}): Promise<void> {
  const client = new HubClient('model', NAME, 'main', { endpoint: hub.url, token: 'hf_test' });
  return fetchFile({
    client,
    url: client.fileUrl(hub.commitOf('model', NAME), wanted.path),
    file: wanted,
    to,
    transfer,
  });
}
const cdnRequests = () => hub.requests.filter((request) => request.server === 'cdn');

test('continues at the byte where the connection was cut', async () => {
  hub.inject({ kind: 'cut', path, afterBytes: 100_000, times: 1 });
  let moved = 0;
  await fetchIt(file, { onBytes: (count) => (moved += count) });
  assert.deepEqual(await readFile(to), bytes);
  const [first, second, ...more] = cdnRequests();
  assert.equal(first?.range, null);
  assert.match(second?.range ?? '', /^bytes=[1-9]\d*-$/);
  assert.equal(second?.status, 206);
  assert.deepEqual(more, []);
  assert.equal(moved, bytes.length, 'no byte was moved twice');
});

test('continues a part that an earlier process left', async () => {
  await writeFile(`${to}.part`, bytes.subarray(0, 123_456));
  await fetchIt();
  assert.deepEqual(await readFile(to), bytes);
  assert.deepEqual(
    cdnRequests().map((request) => request.range),
    ['bytes=123456-'],
  );
});

test('keeps what came when it is cancelled, and goes on from there', async () => {
  const stop = new AbortController();
  const away: Fault = { kind: 'unavailable', path, times: 20 };
  hub.inject({ kind: 'cut', path, afterBytes: 100_000, times: 1 });
  hub.inject(away);
  const cancelled = assert.rejects(fetchIt(file, { signal: stop.signal }), { name: 'AbortError' });
  await eventually('it tries again', async () => (away.times < 20 ? true : null));
  stop.abort();
  await cancelled;
  assert.deepEqual(await readdir(dir), [`${path}.part`]);
  away.times = 0;
  hub.requests.length = 0;
  await fetchIt();
  assert.deepEqual(await readFile(to), bytes);
  assert.deepEqual(
    cdnRequests().map((request) => request.status),
    [206],
  );
});

test('a part that is not of this file is found out by the hash and fetched again', async () => {
  await writeFile(`${to}.part`, Buffer.alloc(1000, 'x'));
  await fetchIt();
  assert.deepEqual(await readFile(to), bytes);
  assert.deepEqual(
    cdnRequests().map((request) => request.range),
    ['bytes=1000-', null],
  );
});

test('a flipped byte is fetched again', async () => {
  hub.inject({ kind: 'flip', path, byte: 5, times: 1 });
  await fetchIt();
  assert.deepEqual(await readFile(to), bytes);
  assert.equal(cdnRequests().length, 2);
});

test('a byte that is flipped every time is refused, and nothing is left behind', async () => {
  hub.inject({ kind: 'flip', path, byte: 5, times: 2 });
  await assert.rejects(fetchIt(), {
    type: 'ModelRejected',
    message: new RegExp(`file ${path} arrived twice with sha256 [0-9a-f]{64}; expected ${sha256}`),
  });
  assert.deepEqual(await readdir(dir), []);
});

test('a finished file that was damaged since is fetched again, an intact one is not', async () => {
  await writeFile(to, Buffer.alloc(bytes.length, 'x'));
  await fetchIt();
  assert.equal(cdnRequests().length, 1);
  await fetchIt();
  assert.equal(cdnRequests().length, 1);
});

test('a plain file is checked against its name in Git', async () => {
  const content = Buffer.from('{"a": 1}');
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  const plain: SourceFile = {
    path: 'config.json',
    size: content.length,
    hash: { algorithm: 'git-blob-sha1', hex: oid },
  };
  await fetchIt(plain);
  assert.deepEqual(await readFile(to), content);
  const other: SourceFile = { ...plain, hash: { algorithm: 'git-blob-sha1', hex: '0'.repeat(40) } };
  await assert.rejects(fetchIt(other), { type: 'ModelRejected' });
});

test('the token goes to the Hub and not to the host that it redirects to', async () => {
  await fetchIt();
  assert.deepEqual(
    hub.requests.map(({ server, authorization }) => [server, authorization]),
    [
      ['hub', 'Bearer hf_test'],
      ['cdn', null],
    ],
  );
});

test('the token goes to no other host that the Hub names, as it does for the next page of a list', async () => {
  const client = new HubClient('model', NAME, 'main', { endpoint: hub.url, token: 'hf_test' });
  await (await client.request(`${hub.cdnUrl}/${sha256}`)).arrayBuffer();
  assert.deepEqual(
    hub.requests.map(({ server, authorization }) => [server, authorization]),
    [['cdn', null]],
  );
});

test('waits out a server that is unavailable for a while', async () => {
  hub.inject({ kind: 'unavailable', path, times: 2 });
  await fetchIt();
  assert.deepEqual(
    cdnRequests().map((request) => request.status),
    [503, 503, 200],
  );
});
