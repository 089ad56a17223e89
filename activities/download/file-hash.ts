/** Hashes a local file as the Hub names it. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { CHUNK_BYTES, tap } from '../store/hashing.ts';
import type { Transfer } from '../store/store.ts';
import type { FileHash } from './source-tree.ts';

/** A file in plain Git is named by the SHA-1 of a header with its size, and its bytes; one in LFS by its SHA-256. */
function start(algorithm: FileHash['algorithm'], size: number): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

export async function hubHash(
  file: string,
  size: number,
  algorithm: FileHash['algorithm'],
  transfer?: Transfer,
): Promise<string> {
  const hash = start(algorithm, size);
  const chunks = tap(createReadStream(file, { highWaterMark: CHUNK_BYTES }), hash, transfer);
  while (!(await chunks.next()).done);
  return hash.digest('hex');
}
