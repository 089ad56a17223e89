/** Downloads of large objects of S3: in several ranges at once, whatever breaks off, and whoever dies. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execaNode } from 'execa';
import { S3Store } from '../../../../activities/store/s3-store.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { type FaultRule, startFaultProxy } from '../../../fixtures/fault-proxy.ts';
import { withoutRclone as skip, startS3 } from '../../../fixtures/rclone.ts';
import { countBytes } from './store-suite.ts';

const PART = 8 * 1024 * 1024;
/** Ten parts, the last a short one. */
const bytes = randomBytes(9 * PART + 12_345);
const sha256 = createHash('sha256').update(bytes).digest('hex');

const root = await mkdtemp(join(tmpdir(), 'reverie-download-'));
const server = skip ? null : await startS3(join(root, 'served'));
after(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

const optionsAt = (endpoint = '') => ({ client: { ...server?.client, endpoint }, bucket: 'reverie', prefix: 'runs' });

interface Setting {
  store: S3Store;
  options: ReturnType<typeof optionsAt>;
  proxy: Awaited<ReturnType<typeof startFaultProxy>>;
  /** What was asked for, in order of coming. */
  ranges: [number, number][];
}

/** A store with the object `large`, behind a proxy with these faults. */
async function setUp(rules: FaultRule[] = []): Promise<Setting> {
  const ranges: [number, number][] = [];
  const note: FaultRule = {
    fault: { kind: 'delay', ms: 0 },
    when: ({ headers }) => {
      const [range, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
      if (range !== undefined) ranges.push([Number(from), Number(to)]);
      return false;
    },
  };
  await new S3Store(optionsAt(server?.endpoint)).put('large', bytes);
  const proxy = await startFaultProxy(server?.endpoint ?? '', [note, ...rules]);
  const options = optionsAt(proxy.endpoint);
  return { store: new S3Store(options), options, proxy, ranges };
}

const isPart = (number: number) => (request: IncomingMessage) =>
  request.method === 'GET' && request.headers.range?.startsWith(`bytes=${number * PART}-`) === true;
const isGet = ({ method }: IncomingMessage) => method === 'GET';
const byStart = (ranges: [number, number][]) => [...ranges].sort(([a], [b]) => a - b);
const parts: [number, number][] = Array.from({ length: 10 }, (_, n) => [
  n * PART,
  Math.min((n + 1) * PART, bytes.length) - 1,
]);
const namesOf = async (name: string) => (await readdir(root)).filter((each) => each.startsWith(name));

test('a large object comes in eight ranges at once, each byte once', { skip }, async (t) => {
  const { store, proxy, ranges } = await setUp([{ fault: { kind: 'delay', ms: 1_000 }, when: isGet }]);
  t.after(() => proxy.stop());
  const moved = countBytes();
  assert.deepEqual(await store.download('large', join(root, 'whole'), moved), { size: bytes.length, sha256 });
  assert.equal(proxy.mostAtOnce, 8);
  assert.deepEqual(byStart(ranges), parts);
  assert.equal(moved.bytes, bytes.length);
  assert.equal(Buffer.compare(await readFile(join(root, 'whole')), bytes), 0);
});

test('an object of one part is one request', { skip }, async (t) => {
  const { store, proxy, ranges } = await setUp();
  t.after(() => proxy.stop());
  await store.put('part', bytes.subarray(0, PART));
  assert.equal((await store.download('part', join(root, 'part')))?.size, PART);
  assert.deepEqual(ranges, [[0, PART - 1]]);
});

test('a part whose connection is cut goes on from there, and the others are not asked for again', {
  skip,
}, async (t) => {
  const beforeCut = () => sleep(200);
  const { store, proxy, ranges } = await setUp([
    { fault: { kind: 'cut', body: 'response', afterBytes: 3_000_000, beforeCut }, when: isPart(1), times: 1 },
  ]);
  t.after(() => proxy.stop());
  const moved = countBytes();
  assert.equal((await store.download('large', join(root, 'cut'), moved))?.sha256, sha256);
  assert.equal(proxy.fired, 1);
  const [again = [0, 0]] = byStart(ranges).filter(([from]) => from % PART !== 0);
  assert.ok(again[0] > PART && again[0] <= PART + 3_000_000, `from byte ${again[0]}`);
  assert.equal(again[1], 2 * PART - 1);
  assert.equal(ranges.length, parts.length + 1);
  assert.equal(moved.bytes, bytes.length);
});

test('a part that never comes ends the download, and the others with it', { skip }, async (t) => {
  const { store, proxy, ranges } = await setUp([
    { fault: { kind: 'answer', status: 403, code: 'AccessDenied' }, when: isPart(1) },
    { fault: { kind: 'delay', ms: 20_000 }, when: isGet },
  ]);
  t.after(() => proxy.stop());
  const startedMs = performance.now();
  await assert.rejects(store.download('large', join(root, 'never')), {
    type: 'StoreUnavailable',
    message: /AccessDenied/,
  });
  assert.ok(performance.now() - startedMs < 10_000);
  assert.ok(ranges.length <= 8, `${ranges.length} requests`);
});

test('what a killed process leaves is a beginning, which the next one continues', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const { store, options, proxy, ranges } = await setUp([{ fault: { kind: 'delay', ms: 30_000 }, when: isPart(2) }]);
  t.after(() => proxy.stop());
  const program = join(import.meta.dirname, '../../../fixtures/download.ts');
  const args = [JSON.stringify(options), join(root, 'killed')];
  const first = execaNode(program, args, { nodeOptions: ['--import', 'tsx'], reject: false });
  // All but the third part of what may be asked for at once: two lie in the file, the others wait in memory.
  await eventually('ten requests', async () => (ranges.length === 10 ? true : null));
  await sleep(1_000);
  first.kill('SIGKILL');
  await first;
  const [partial = ''] = await namesOf('killed.');
  const left = await readFile(join(root, partial));
  assert.equal(left.length, 2 * PART);
  assert.equal(Buffer.compare(left, bytes.subarray(0, left.length)), 0);

  proxy.rules.pop();
  const moved = countBytes();
  assert.equal((await store.download('large', join(root, 'killed'), moved))?.sha256, sha256);
  assert.equal(moved.bytes, bytes.length - left.length);
  assert.deepEqual(await namesOf('killed'), ['killed']);
});

test('two downloads of one object at once both end with it', { skip }, async (t) => {
  const { store, proxy } = await setUp();
  t.after(() => proxy.stop());
  const both = [1, 2].map(() => store.download('large', join(root, 'twice')));
  for (const got of await Promise.all(both)) assert.equal(got?.sha256, sha256);
  assert.equal(Buffer.compare(await readFile(join(root, 'twice')), bytes), 0);
  assert.deepEqual(await namesOf('twice'), ['twice']);
});

test('a store that ignores ranges is read through one connection, past what is there already', async (t) => {
  let gets = 0;
  let whole = 0;
  // Neither of the real servers does this.
  const plain = createServer((incoming, outgoing) => {
    outgoing.writeHead(200, { etag: '"1"', 'content-length': bytes.length });
    if (incoming.method === 'HEAD') return outgoing.end();
    gets += 1;
    if (incoming.headers.range?.endsWith(`-${bytes.length - 1}`)) whole += 1;
    else return outgoing.end(bytes);
    if (whole > 1) return outgoing.end(bytes);
    outgoing.write(bytes.subarray(0, 3 * PART), () => setTimeout(() => outgoing.destroy(), 200));
  });
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  t.after(() => {
    plain.closeAllConnections();
    plain.close();
  });
  const client = {
    endpoint: `http://127.0.0.1:${(plain.address() as AddressInfo).port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  };
  const store = new S3Store({ bucket: 'reverie', prefix: '', client });
  const moved = countBytes();
  assert.deepEqual(await store.download('large', join(root, 'plain'), moved), { size: bytes.length, sha256 });
  assert.equal(moved.bytes, bytes.length);
  assert.equal(whole, 2);
  assert.ok(gets <= 8 + 2, `${gets} requests`);
  assert.equal((await stat(join(root, 'plain'))).size, bytes.length);
});
