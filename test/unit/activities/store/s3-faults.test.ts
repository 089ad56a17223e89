/** The S3 store while its server, its credentials or the clock fail, on rclone and on Ceph's gateway. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, mock, test } from 'node:test';
import { ListMultipartUploadsCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { S3Store } from '../../../../activities/store/s3-store.ts';
import { type FaultProxy, type FaultRule, startFaultProxy } from '../../../fixtures/fault-proxy.ts';
import { withoutRclone as skipRclone, startS3 } from '../../../fixtures/rclone.ts';
import { withoutRgw as skipRgw, startRgw } from '../../../fixtures/rgw.ts';
import { countBytes, storeSuite } from './store-suite.ts';

const MB = 1024 * 1024;
const root = await mkdtemp(join(tmpdir(), 'reverie-faults-'));
const rclone = skipRclone ? null : await startS3(join(root, 'served'));
const rgw = skipRgw ? null : await startRgw();
const proxies: FaultProxy[] = [];
after(async () => {
  for (const proxy of proxies) await proxy.stop();
  await Promise.all([rclone?.stop(), rgw?.stop()]);
  await rm(root, { recursive: true, force: true });
});

const bytes = randomBytes(40 * MB);
const expected = { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
const file = join(root, 'file');
await writeFile(file, bytes);

const isPart = ({ method, url }: IncomingMessage) => method === 'PUT' && /partNumber=/.test(url ?? '');
const isPartFrom = (number: number) => (request: IncomingMessage) =>
  isPart(request) && Number(/partNumber=(\d+)/.exec(request.url ?? '')?.[1]) >= number;

const servers = [
  { kind: 'rclone', server: rclone, skip: skipRclone },
  { kind: 'RGW', server: rgw, skip: skipRgw },
] as const;
for (const { kind, server, skip } of servers) {
  let number = 0;
  /** A store behind a proxy with these faults, and a key of its own. */
  const setUp = async (rules: FaultRule[], client: S3ClientConfig = {}) => {
    if (server === null) throw new Error(`no ${kind}`);
    number += 1;
    const proxy = await startFaultProxy(server.endpoint, rules);
    proxies.push(proxy);
    const open = () => {
      const config = { ...server.client, endpoint: proxy.endpoint, ...client };
      return new S3Store({ bucket: server.bucket, prefix: `faults-${number}`, client: config });
    };
    return { proxy, open, store: open() };
  };
  const check = async (store: S3Store, key = 'a/file'): Promise<void> => {
    assert.deepEqual(await store.download(key, join(root, `down-${kind}-${number}`)), expected);
  };
  const unfinished = async (): Promise<number> => {
    const s3 = new S3Client({ ...server?.client, forcePathStyle: true });
    const answer = s3.send(new ListMultipartUploadsCommand({ Bucket: server?.bucket, Prefix: `faults-${number}/` }));
    // rclone answers 404 where there is none.
    const { Uploads = [] } = await answer.catch((error: Error) => {
      if (error.name !== 'NoSuchUpload') throw error;
      return { Uploads: [] };
    });
    s3.destroy();
    return Uploads.length;
  };

  test(`${kind}: an upload goes on over 503 SlowDown and connections cut in mid-body`, { skip }, async () => {
    const rules: FaultRule[] = [
      { fault: { kind: 'answer', status: 503, code: 'SlowDown' }, when: isPart, times: 3 },
      { fault: { kind: 'cut', body: 'request', afterBytes: 3 * MB }, when: isPart, times: 3 },
      {
        fault: { kind: 'cut', body: 'response', afterBytes: 3 * MB },
        when: ({ headers }) => 'range' in headers,
        times: 2,
      },
    ];
    const { proxy, store } = await setUp(rules);
    assert.deepEqual(await store.upload('a/file', file), expected);
    await check(store);
    assert.deepEqual(
      rules.map(({ times }) => times),
      [0, 0, 0],
    );
    assert.equal(proxy.fired, 8);
    assert.equal(await unfinished(), 0);
  });

  test(`${kind}: an upload that a full store broke off is continued by another process, part by part`, {
    skip,
  }, async () => {
    const full: FaultRule = {
      fault: { kind: 'answer', status: 507, code: 'InsufficientStorage' },
      when: isPartFrom(4),
    };
    const { proxy, open } = await setUp([full]);
    await assert.rejects(open().upload('a/file', file), { type: 'DiskFull' });
    assert.ok(proxy.fired > 0);
    assert.equal(await unfinished(), 1);
    proxy.rules.length = 0;
    const moved = countBytes();
    assert.deepEqual(await open().upload('a/file', file, moved), expected);
    assert.ok(moved.bytes <= 16 * MB, `${moved.bytes} bytes again`);
    await check(open());
    assert.equal(await unfinished(), 0);
  });

  test(`${kind}: what was left of another content is not mixed in`, { skip }, async () => {
    const full: FaultRule = {
      fault: { kind: 'answer', status: 507, code: 'InsufficientStorage' },
      when: isPartFrom(4),
    };
    const { proxy, store } = await setUp([full]);
    const other = join(root, 'other');
    await writeFile(other, randomBytes(40 * MB));
    await assert.rejects(store.upload('a/file', other), { type: 'DiskFull' });
    assert.ok(proxy.fired > 0);
    proxy.rules.length = 0;
    assert.deepEqual(await store.upload('a/file', file), expected);
    await check(store);
  });

  test(`${kind}: an object that is replaced between two parts of its download is fetched anew`, { skip }, async () => {
    const other = join(root, 'other');
    await writeFile(other, randomBytes(40 * MB));
    const replace = async () => {
      await store.upload('a/file', file);
    };
    const cut: FaultRule = {
      fault: { kind: 'cut', body: 'response', afterBytes: 3 * MB, beforeCut: replace },
      when: ({ method, headers }) => method === 'GET' && headers.range?.startsWith(`bytes=${16 * MB}-`) === true,
      times: 1,
    };
    const { proxy, store } = await setUp([cut]);
    await store.upload('a/file', other);
    await check(store);
    assert.equal(proxy.fired, 1);
    // rclone takes the condition and ignores it.
    assert.equal(proxy.statuses.includes(412), kind === 'RGW');
    const down = `down-${kind}-${number}`;
    assert.deepEqual(
      (await readdir(root)).filter((name) => name.startsWith(down)),
      [down],
    );
  });

  test(`${kind}: a cancelled upload leaves no parts`, { skip }, async () => {
    const { proxy, store } = await setUp([]);
    await assert.rejects(store.upload('a/file', file, countBytes(8 * MB)), /cancelled by test/);
    assert.ok(proxy.requests.some((line) => line.includes('partNumber=')));
    assert.equal(await unfinished(), 0);
  });

  test(`${kind}: a clock that is set back an hour in mid-run is put right`, { skip }, async () => {
    const { proxy, store } = await setUp([]);
    await store.put('a/before', Buffer.from('1'));
    mock.timers.enable({ apis: ['Date'], now: Date.now() - 3_600_000 });
    try {
      await store.put('a/after', Buffer.from('2'));
      assert.equal(Buffer.from((await store.get('a/after')) ?? []).toString(), '2');
    } finally {
      mock.timers.reset();
    }
    if (kind === 'RGW') assert.ok(proxy.statuses.includes(403), 'the clock was refused once');
  });

  test(`${kind}: credentials that expire in mid-run are picked up anew from their file`, { skip }, async (t) => {
    const path = join(root, `credentials-${kind}`);
    const { accessKeyId, secretAccessKey } = server?.client.credentials ?? assert.fail();
    const write = (token: string) =>
      writeFile(
        path,
        `[default]\naws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\n# ${token}\n`,
      );
    let valid = true;
    const expired: FaultRule = {
      fault: { kind: 'answer', status: 400, code: 'ExpiredToken' },
      when: ({ headers }) => !valid && (headers.authorization ?? '').includes('Credential=old-key/'),
    };
    await write('new');
    const before = process.env.AWS_SHARED_CREDENTIALS_FILE;
    process.env.AWS_SHARED_CREDENTIALS_FILE = path;
    t.after(() => {
      if (before === undefined) delete process.env.AWS_SHARED_CREDENTIALS_FILE;
      else process.env.AWS_SHARED_CREDENTIALS_FILE = before;
    });
    await writeFile(path, '[default]\naws_access_key_id=old-key\naws_secret_access_key=old-secret\n');
    valid = false;
    const { proxy, store } = await setUp([expired], { credentials: undefined as never });
    await assert.rejects(store.put('a/one', Buffer.from('1')), { type: 'StoreUnavailable' });
    const fired = proxy.fired;
    assert.ok(fired > 0);
    await write('new');
    await store.put('a/one', Buffer.from('1'));
    assert.ok(proxy.fired > fired, 'the old key was tried first');
    assert.deepEqual(await store.upload('a/file', file), expected);
  });
}

test('RGW: an upload survives a gateway that is killed and started again', { skip: skipRgw }, async () => {
  const server = rgw ?? assert.fail();
  const proxy = await startFaultProxy(server.endpoint);
  proxies.push(proxy);
  const client = { ...server.client, endpoint: proxy.endpoint };
  const store = new S3Store({ bucket: server.bucket, prefix: 'restart', client });
  let restarted: Promise<void> | undefined;
  const done = store.upload('a/file', file, {
    onBytes: () => {
      restarted ??= server.restartGateway();
    },
  });
  assert.deepEqual(await done, expected);
  assert.ok(restarted, 'the gateway was restarted in mid-upload');
  await restarted;
  assert.deepEqual(await store.download('a/file', join(root, 'restarted')), expected);
});

if (rgw) {
  const { bucket, client } = rgw;
  storeSuite(
    async () => ({ store: new S3Store({ bucket, prefix: 'suite', client }), conditionalWrites: true }),
    skipRgw,
  );
}
