/** The S3 store on a real S3 server: the shared suite, broken connections, and refusals in words. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { checkWritable } from '../../../../activities/store/open-store.ts';
import { S3Store } from '../../../../activities/store/s3-store.ts';
import type { ReverieFailure } from '../../../../contracts/failures.ts';
import { startFaultProxy } from '../../../fixtures/fault-proxy.ts';
import { withoutRclone as skip, startS3 } from '../../../fixtures/rclone.ts';
import { countBytes, storeSuite } from './store-suite.ts';

const root = await mkdtemp(join(tmpdir(), 'reverie-s3-'));
// Not in a hook: hooks at the top level do not wait for one another.
const server = skip ? null : await startS3(join(root, 'served'));
after(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

const open = (client: S3ClientConfig = {}, bucket = server?.bucket ?? '') =>
  new S3Store({ bucket, prefix: 'runs', client: { ...server?.client, ...client } });

/** Before the server; cuts each of the first `times` GETs of more than `afterBytes`, at that byte. */
const startCutting = (afterBytes: number, times: number, beforeCut = async () => {}) => {
  const when = ({ method }: IncomingMessage) => method === 'GET';
  const fault = { kind: 'cut', body: 'response', afterBytes, beforeCut } as const;
  return startFaultProxy(server?.endpoint ?? '', [{ fault, when, times }]);
};

// This server answers 200 to "If-None-Match: *" and overwrites: the store must find that out.
storeSuite(async () => ({ store: open(), conditionalWrites: false }), skip);

test('a download goes on where the connection broke, and fetches no byte twice', { skip }, async () => {
  const bytes = randomBytes(12_000_000);
  await writeFile(join(root, 'source'), bytes);
  await open().upload('cut/file', join(root, 'source'));
  // Whichever part asks first again, more than that is left of it.
  const proxy = await startCutting(1_000_000, 3);
  const moved = countBytes();
  const got = await open({ endpoint: proxy.endpoint }).download('cut/file', join(root, 'resumed'), moved);
  await proxy.stop();
  assert.equal(proxy.fired, 3);
  assert.equal(got?.sha256, createHash('sha256').update(bytes).digest('hex'));
  assert.equal(moved.bytes, bytes.length);
  assert.equal(Buffer.compare(await readFile(join(root, 'resumed')), bytes), 0);
});

test('a download that a process began is finished by the next', { skip }, async () => {
  const bytes = randomBytes(12_000_000);
  await writeFile(join(root, 'source'), bytes);
  await open().upload('half/file', join(root, 'source'));
  const first = countBytes(4_000_000);
  await assert.rejects(open().download('half/file', join(root, 'half'), first), /cancelled by test/);
  const second = countBytes();
  const got = await open().download('half/file', join(root, 'half'), second);
  assert.equal(got?.sha256, createHash('sha256').update(bytes).digest('hex'));
  // The chunk that crossed the limit was counted but not written.
  assert.ok(second.bytes <= bytes.length - first.bytes + 1_000_000, `${first.bytes}, then ${second.bytes} bytes`);
  assert.deepEqual(
    (await readdir(root)).filter((name) => name.startsWith('half')),
    ['half'],
  );
});

test('a partial file of an older version is not continued', { skip }, async () => {
  const store = open();
  await writeFile(join(root, 'source'), randomBytes(8_000_000));
  await store.upload('changed/file', join(root, 'source'));
  await assert.rejects(store.download('changed/file', join(root, 'changed'), countBytes(0)));
  const newer = randomBytes(8_000_000);
  await writeFile(join(root, 'source'), newer);
  await store.upload('changed/file', join(root, 'source'));
  const got = await store.download('changed/file', join(root, 'changed'));
  assert.equal(got?.sha256, createHash('sha256').update(newer).digest('hex'));
});

test('an object that is replaced in mid-download is fetched anew, not mixed', { skip }, async () => {
  await open().put('replaced/file', randomBytes(6_000_000));
  const newer = randomBytes(6_000_000);
  const proxy = await startCutting(3_000_000, 1, () => open().put('replaced/file', newer));
  const got = await open({ endpoint: proxy.endpoint }).download('replaced/file', join(root, 'replaced'));
  await proxy.stop();
  assert.equal(proxy.fired, 1);
  assert.equal(got?.sha256, createHash('sha256').update(newer).digest('hex'));
  assert.deepEqual(
    (await readdir(root)).filter((name) => name.startsWith('replaced')),
    ['replaced'],
  );
});

test('a small object is read again when its body breaks off', { skip }, async () => {
  const body = randomBytes(500_000);
  await open().put('small/object', body);
  const proxy = await startCutting(100_000, 2);
  const got = await open({ endpoint: proxy.endpoint }).get('small/object');
  await proxy.stop();
  assert.equal(proxy.fired, 2);
  assert.equal(Buffer.compare(got ?? Buffer.alloc(0), body), 0);
});

const refusals: [string, () => S3Store, RegExp][] = [
  [
    'a wrong secret',
    () => open({ credentials: { accessKeyId: 'reverie-test', secretAccessKey: 'wrong-secret' } }),
    /SignatureDoesNotMatch.*expected the secret that belongs to the access key; correct AWS_SECRET_ACCESS_KEY/,
  ],
  [
    'an unknown access key',
    () => open({ credentials: { accessKeyId: 'nobody-knows', secretAccessKey: 'wrong-secret' } }),
    /InvalidAccessKeyId.*expected an access key that this endpoint knows; correct AWS_ACCESS_KEY_ID/,
  ],
  [
    'a bucket that is missing',
    () => open({}, 'no-such-bucket'),
    /NoSuchBucket.*expected a bucket named no-such-bucket.*create it, or correct REVERIE_STORE/,
  ],
  [
    'an endpoint where nobody listens',
    () => open({ endpoint: 'http://127.0.0.1:9' }),
    /ECONNREFUSED.*check that the endpoint \(AWS_ENDPOINT_URL_S3\) is right, up and reachable/,
  ],
];
for (const [title, openRefused, message] of refusals) {
  test(`${title} is named within 5 s, with what to do`, { skip }, async () => {
    const startedMs = performance.now();
    await assert.rejects(checkWritable(openRefused()), (error: ReverieFailure) => {
      assert.equal(error.type, 'StoreUnavailable');
      assert.match(error.message, message);
      return true;
    });
    assert.ok(performance.now() - startedMs < 5_000);
  });
}

test('a missing bucket is not taken for a missing object', { skip }, async () => {
  const store = open({}, 'no-such-bucket');
  await assert.rejects(store.download('a/b', join(root, 'nothing')), { type: 'StoreUnavailable' });
  await assert.rejects(store.get('a/b'), { type: 'StoreUnavailable' });
});
