/** Host memory of a transfer to or from S3: a few parts, however large the file, and however long one keeps the others waiting. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { execaNode } from 'execa';
import { type FaultRule, startFaultProxy } from '../../../fixtures/fault-proxy.ts';
import { type S3Server, withoutRclone as skip, startS3 } from '../../../fixtures/rclone.ts';

const MIB = 1024 ** 2;
/** Four parts of 8 MiB go up at once; as much again waits for the garbage collector, and some on the sockets. */
const MOST_UP_MIB = 128;
/** Eight come down, into buffers that are used again. */
const MOST_DOWN_MIB = 160;
const STALL_MS = 4_000;

const root = await mkdtemp(join(tmpdir(), 'reverie-memory-'));
after(() => rm(root, { recursive: true, force: true }));

/** Runs `fixture` behind a proxy; what `when` fits waits for the first so long. Returns by how many MiB it grew. */
async function grownMib(t: TestContext, fixture: string, server: S3Server, file: string, when: FaultRule['when']) {
  let untilMs: number | undefined;
  const stall = {
    kind: 'delay',
    get ms() {
      untilMs ??= performance.now() + STALL_MS;
      return Math.max(0, untilMs - performance.now());
    },
  } as const;
  const proxy = await startFaultProxy(server.endpoint, [{ fault: stall, ...(when && { when }) }]);
  t.after(() => proxy.stop());
  const client = { ...server.client, endpoint: proxy.endpoint };
  const options = JSON.stringify({ client, bucket: server.bucket, prefix: 'runs' });
  const program = join(import.meta.dirname, '../../../fixtures', fixture);
  const { stdout } = await execaNode(program, [options, file], { nodeOptions: ['--import', 'tsx'] });
  const grown = Number(stdout) / MIB;
  t.diagnostic(`grew by ${grown.toFixed(0)} MiB`);
  return { grown, fired: proxy.fired };
}

test('an upload of 1 GiB to a store that stalls at first holds a few parts in memory', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const server = await startS3(join(root, 'up'));
  t.after(() => server.stop());
  const file = join(root, 'large');
  await writeFile(file, '');
  await truncate(file, 1024 * MIB);
  const { grown, fired } = await grownMib(t, 'upload.ts', server, file, ({ url }) => /partNumber=/.test(url ?? ''));
  assert.equal(fired, 128, 'every part met the stall or came after it');
  // Less than a part, and nothing was measured.
  assert.ok(grown > 8 && grown < MOST_UP_MIB, `${grown} MiB`);
});

test('a download of 1 GiB whose first part stalls holds a few parts in memory', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const server = await startS3(join(root, 'down'));
  t.after(() => server.stop());
  await mkdir(join(server.folder, 'runs'));
  await writeFile(join(server.folder, 'runs/large'), '');
  await truncate(join(server.folder, 'runs/large'), 1024 * MIB);
  const isFirst: FaultRule['when'] = ({ headers }) => headers.range?.startsWith('bytes=0-') === true;
  const { grown, fired } = await grownMib(t, 'download.ts', server, join(root, 'got'), isFirst);
  assert.equal(fired, 1);
  assert.ok(grown > 8 && grown < MOST_DOWN_MIB, `${grown} MiB`);
});
