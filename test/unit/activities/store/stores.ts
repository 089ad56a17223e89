/** A folder and a real S3 server, for tests of what is built on a store. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { S3Store } from '../../../../activities/store/s3-store.ts';
import type { Store } from '../../../../activities/store/store.ts';
import { startS3, withoutRclone } from '../../../fixtures/rclone.ts';

export interface OpenStore {
  kind: string;
  store: Store;
  /** Empty folder of this test file. */
  local: string;
}

/** One of each kind that this machine can run. They end with the test file. */
export async function openStores(): Promise<OpenStore[]> {
  const root = await mkdtemp(join(tmpdir(), 'reverie-stores-'));
  const server = withoutRclone ? null : await startS3(join(root, 's3'));
  after(async () => {
    await server?.stop();
    await rm(root, { recursive: true, force: true });
  });
  const stores = [
    { kind: 'folder', store: new FileStore(join(root, 'folder')) as Store, local: join(root, 'local-1') },
  ];
  if (server) {
    const store = new S3Store({ bucket: server.bucket, prefix: 'runs', client: server.client });
    stores.push({ kind: 'S3', store, local: join(root, 'local-2') });
  }
  return stores;
}
