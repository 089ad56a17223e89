/** SHA-256 of bytes on their way from one place to another: chunk by chunk, so that the event loop goes on turning. */
import { createHash, type Hash, webcrypto } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Transfer } from './store.ts';

/** Large enough for speed, small enough that one update takes about a millisecond. */
export const CHUNK_BYTES = 1 << 20;

export interface Hashed {
  size: number;
  sha256: string;
}

/** Passes `source` on, feeds `hash` and counts; throws the signal's reason between two chunks. */
export async function* tap(
  source: AsyncIterable<Uint8Array>,
  hash: Hash,
  { signal, onBytes }: Transfer = {},
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal?.throwIfAborted();
    hash.update(chunk);
    onBytes?.(chunk.length);
    yield chunk;
  }
  signal?.throwIfAborted();
}

export async function hashFile(file: string, transfer?: Transfer): Promise<Hashed> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of tap(createReadStream(file, { highWaterMark: CHUNK_BYTES }), hash, transfer)) {
    size += chunk.length;
  }
  return { size, sha256: hash.digest('hex') };
}

/** On a thread of the pool, not the event loop's. */
export async function hashBytes(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)).toString('hex');
}
