/** From the address of a store to the store, and the question whether a run could write there. */
import { randomUUID } from 'node:crypto';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { ReverieFailure, rejected } from '../../contracts/failures.ts';
import { FileStore } from './file-store.ts';
import { S3Store } from './s3-store.ts';
import type { Store } from './store.ts';

export interface OpenStoreOptions {
  /** Beside what the AWS SDK finds in its own variables and files. */
  s3?: S3ClientConfig;
}

/** `file:///folder`, an absolute folder, or `s3://bucket/prefix`. Touches nothing yet; see checkWritable. */
export function openStore(url: string, options: OpenStoreOptions = {}): Store {
  if (isAbsolute(url)) return new FileStore(url);
  if (url.startsWith('file:///')) return new FileStore(fileURLToPath(url));
  const [, bucket, prefix = ''] = /^s3:\/\/([a-zA-Z0-9][\w.-]+)\/?(.*?)\/*$/.exec(url) ?? [];
  if (bucket !== undefined && !/(^|\/)(\.{0,2})(\/|$)/.test(prefix || 'x')) {
    return new S3Store({ bucket, prefix, ...(options.s3 && { client: options.s3 }) });
  }
  throw rejected(
    'InvalidSpec',
    `Store address ${JSON.stringify(url)} has no known form; expected file:///folder, an absolute folder, or s3://bucket/prefix; correct REVERIE_STORE.`,
  );
}

/** Writes, reads and deletes a small object. Throws the failure that a run would meet, with what to do about it. */
export async function checkWritable(store: Store): Promise<void> {
  const key = `.probe/${randomUUID()}`;
  const body = Buffer.from(key);
  await store.put(key, body);
  const back = await store.get(key);
  await store.delete([key]);
  if (back === null || Buffer.compare(back, body) !== 0) {
    throw new ReverieFailure(
      'StoreUnavailable',
      `Store ${store.url} gave back ${back === null ? 'nothing' : `${back.length} other bytes`} for an object just written; expected the same bytes; use a store with read-after-write consistency.`,
      { operation: 'get' },
    );
  }
}

/** Whether of two that write the same new object one is told so. Tried: some S3 servers take the condition and overwrite. */
export async function honoursConditionalWrites(store: Store): Promise<boolean> {
  const key = `.probe/${randomUUID()}`;
  const body = Buffer.from(key);
  try {
    const first = await store.putIfAbsent(key, body);
    return first && !(await store.putIfAbsent(key, body));
  } catch (error) {
    if (error instanceof Error && error.name === 'ConditionalWritesUnsupported') return false;
    throw error;
  } finally {
    await store.delete([key]);
  }
}
