/** Host memory of an upload to S3: a few parts, however large the file, and however long the store keeps them waiting. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execaNode } from 'execa';
import { startFaultProxy } from '../../../fixtures/fault-proxy.ts';
import { withoutRclone as skip, startS3 } from '../../../fixtures/rclone.ts';

const MIB = 1024 ** 2;
/** Four parts of 8 MiB are under way at once; as much again waits for the garbage collector, and some on the sockets. */
const MOST_MIB = 128;
const STALL_MS = 4_000;

const root = await mkdtemp(join(tmpdir(), 'reverie-memory-'));
after(() => rm(root, { recursive: true, force: true }));

test('an upload of 1 GiB to a store that stalls at first holds a few parts in memory', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const server = await startS3(join(root, 'served'));
  t.after(() => server.stop());
  let untilMs: number | undefined;
  const stall = {
    kind: 'delay',
    get ms() {
      untilMs ??= performance.now() + STALL_MS;
      return Math.max(0, untilMs - performance.now());
    },
  } as const;
  const proxy = await startFaultProxy(server.endpoint, [
    { fault: stall, when: ({ url }) => /partNumber=/.test(url ?? '') },
  ]);
  t.after(() => proxy.stop());
  const file = join(root, 'large');
  await writeFile(file, '');
  await truncate(file, 1024 * MIB);

  const client = { ...server.client, endpoint: proxy.endpoint };
  const options = JSON.stringify({ client, bucket: server.bucket, prefix: 'runs' });
  const program = join(import.meta.dirname, '../../../fixtures/upload.ts');
  const { stdout } = await execaNode(program, [options, file], { nodeOptions: ['--import', 'tsx'] });
  const grown = Number(stdout) / MIB;
  t.diagnostic(`grew by ${grown.toFixed(0)} MiB`);
  assert.equal(proxy.fired, 128, 'every part met the stall or came after it');
  // Less than a part, and nothing was measured.
  assert.ok(grown > 8 && grown < MOST_MIB, `${grown} MiB`);
});
