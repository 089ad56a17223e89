/** One object of S3 into one local file, continued by Range where a connection broke or a process died. */
import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { asDiskFull } from './disk-full.ts';
import { CHUNK_BYTES, type Hashed, tap } from './hashing.ts';
import { inParallel } from './in-parallel.ts';
import { isNoSuchKey, statusOf } from './s3-errors.ts';
import { Replaced, readRange, type Source, type Version, WithoutRanges } from './s3-range.ts';
import type { Transfer } from './store.ts';

const PART_BYTES = 8 * 1024 * 1024;
/** One connection of S3 brings some 90 MB/s. With the part's size, the most that a download holds in memory. */
const PARTS_AT_ONCE = 8;

/** Null where there is no such object. */
export async function downloadResuming(source: Source, file: string, transfer: Transfer): Promise<Hashed | null> {
  for (let tries = 1; ; tries += 1) {
    const object = await head(source, transfer);
    if (object === null) return null;
    try {
      return await downloadVersion(source, object, file, transfer);
    } catch (error) {
      if (!(error instanceof Replaced) || tries === 3) throw error;
    }
  }
}

async function head({ client, bucket, key }: Source, { signal }: Transfer): Promise<Version | null> {
  const options = signal ? { abortSignal: signal } : {};
  try {
    const { ContentLength = 0, ETag = '' } = await client.send(
      new HeadObjectCommand({ Bucket: bucket, Key: key }),
      options,
    );
    return { size: ContentLength, etag: ETag };
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
    // HEAD has no body to say whether the object or its bucket is missing; GET does.
    await client
      .send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: 'bytes=0-0' }), options)
      .catch((reason) => {
        if (!isNoSuchKey(reason)) throw reason;
      });
    return null;
  }
}

/**
 * The partial file is named by the object's version and written by position. So it can be continued by a later
 * process, and two downloads at once write the same bytes at the same places.
 */
async function downloadVersion(source: Source, version: Version, file: string, transfer: Transfer): Promise<Hashed> {
  const name = createHash('sha256').update(`${version.etag} ${version.size}`).digest('hex').slice(0, 16);
  const partial = `${file}.${name}.partial`;
  await mkdir(dirname(file), { recursive: true });
  const out = await open(partial, constants.O_RDWR | constants.O_CREAT);
  try {
    const sha256 = await fill(source, version, partial, out, transfer);
    await out.sync();
    await rename(partial, file).catch(async (error) => {
      // Another download of the same version was faster.
      if ((await stat(file).catch(() => null))?.size !== version.size) throw error;
    });
    return { size: version.size, sha256 };
  } catch (error) {
    if (error instanceof Replaced) await rm(partial, { force: true });
    throw error;
  } finally {
    await out.close();
  }
}

/** The partial file is at all times a beginning of the object, so that its size says where to go on. */
async function fill(source: Source, version: Version, partial: string, out: FileHandle, transfer: Transfer) {
  const { size } = version;
  const hash = createHash('sha256');
  let position = Math.min((await out.stat()).size, size);
  if (position > 0) await hashBeginning(partial, position, hash, transfer);
  const append = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      transfer.signal?.throwIfAborted();
      const chunk = bytes.subarray(at, at + CHUNK_BYTES);
      // Side by side: the disk's part runs on another thread.
      const written = writeAt(out, chunk, position);
      hash.update(chunk);
      await written.catch((error) => {
        throw asDiskFull(error, partial) ?? error;
      });
      position += chunk.length;
      transfer.onBytes?.(chunk.length);
    }
  };
  try {
    if (size - position > PART_BYTES) await readInParts(source, version, position, append, transfer);
  } catch (error) {
    if (!(error instanceof WithoutRanges)) throw error;
  }
  for await (const chunk of readRange(source, version, { start: position, end: size }, transfer)) await append(chunk);
  transfer.signal?.throwIfAborted();
  return hash.digest('hex');
}

/** Parts come side by side and are appended one after the other, since the hash is over the whole. */
async function readInParts(
  source: Source,
  version: Version,
  from: number,
  append: (bytes: Uint8Array) => Promise<void>,
  transfer: Transfer,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(transfer.signal ? [transfer.signal] : [])]);
  const starts = Array.from({ length: Math.ceil((version.size - from) / PART_BYTES) }, (_, n) => from + n * PART_BYTES);
  const spare: Buffer[] = [];
  let appended: Promise<unknown> = Promise.resolve();
  await inParallel(starts, PARTS_AT_ONCE, async (start) => {
    const buffer = spare.pop() ?? Buffer.allocUnsafe(PART_BYTES);
    const reading = readPart(source, version, start, buffer, { ...transfer, signal });
    const mine = Promise.all([reading, appended]).then(([part]) => append(part));
    appended = mine;
    await mine.catch((error) => {
      // What the others are reading could not be appended any more.
      failed.abort(error);
      throw error;
    });
    spare.push(buffer);
  });
}

async function readPart(source: Source, version: Version, start: number, into: Buffer, transfer: Transfer) {
  const end = Math.min(start + PART_BYTES, version.size);
  let length = 0;
  for await (const chunk of readRange(source, version, { start, end }, transfer)) {
    into.set(chunk, length);
    length += chunk.length;
  }
  return into.subarray(0, length);
}

async function writeAt(out: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await out.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

async function hashBeginning(file: string, bytes: number, hash: Hash, { signal, onBytes }: Transfer): Promise<void> {
  const beginning = createReadStream(file, { end: bytes - 1, highWaterMark: CHUNK_BYTES });
  // Progress, but no bytes moved.
  for await (const _ of tap(beginning, hash, { ...(signal && { signal }), onBytes: () => onBytes?.(0) }));
}
