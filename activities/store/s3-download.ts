/** One object of S3 into one local file, continued by Range where a connection broke or a process died. */
import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { asDiskFull } from './disk-full.ts';
import { CHUNK_BYTES, type Hashed, tap } from './hashing.ts';
import { isNoSuchKey, statusOf } from './s3-errors.ts';
import type { Transfer } from './store.ts';

/** In a row and without a byte gained; every byte gained starts the count again. */
const MAX_IDLE_ATTEMPTS = 5;
const BACK_OFF_MS = 200;

/** The object was written anew between two requests: what came before belongs to other content. */
class Replaced extends Error {}

interface Source {
  client: S3Client;
  bucket: string;
  key: string;
}

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

interface Version {
  size: number;
  etag: string;
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

async function fill(source: Source, { size, etag }: Version, partial: string, out: FileHandle, transfer: Transfer) {
  let hash = createHash('sha256');
  let position = Math.min((await out.stat()).size, size);
  if (position > 0) await hashBeginning(partial, position, hash, transfer);
  for (let idle = 0; position < size; ) {
    const before = position;
    let cause: unknown = new Error('the connection ended early');
    try {
      const { Body, ContentRange, ETag } = await source.client.send(
        new GetObjectCommand({ Bucket: source.bucket, Key: source.key, Range: `bytes=${position}-`, IfMatch: etag }),
        transfer.signal ? { abortSignal: transfer.signal } : {},
      );
      // Some stores take the condition and ignore it.
      if (ETag !== undefined && ETag !== etag) {
        (Body as Readable).destroy();
        throw new Replaced(`${source.key} was replaced during its download`);
      }
      if (position > 0 && !ContentRange?.startsWith(`bytes ${position}-`)) {
        // A store without ranges sends the whole.
        hash = createHash('sha256');
        position = 0;
      }
      for await (const chunk of tap(Body as AsyncIterable<Uint8Array>, hash, transfer)) {
        for (let at = 0; at < chunk.length; ) {
          const { bytesWritten } = await out.write(chunk, at, chunk.length - at, position);
          at += bytesWritten;
          position += bytesWritten;
        }
      }
    } catch (error) {
      transfer.signal?.throwIfAborted();
      // The hash has the chunk already and the file has not: there is no going on from here.
      if ((error as NodeJS.ErrnoException).syscall === 'write') throw asDiskFull(error, partial) ?? error;
      const status = statusOf(error);
      if (status === 412 || isNoSuchKey(error)) throw new Replaced(`${source.key} was replaced during its download`);
      if (error instanceof Replaced) throw error;
      // The SDK has tried again where that helps; what it reports about the request itself is final.
      if (status !== undefined && status >= 400 && status < 500) throw error;
      cause = error;
    }
    idle = position > before ? 0 : idle + 1;
    if (idle === MAX_IDLE_ATTEMPTS) throw cause;
    if (position < size)
      await sleep(BACK_OFF_MS * 2 ** idle, undefined, transfer.signal && { signal: transfer.signal });
  }
  return hash.digest('hex');
}

async function hashBeginning(file: string, bytes: number, hash: Hash, { signal, onBytes }: Transfer): Promise<void> {
  const beginning = createReadStream(file, { end: bytes - 1, highWaterMark: CHUNK_BYTES });
  // Progress, but no bytes moved.
  for await (const _ of tap(beginning, hash, { ...(signal && { signal }), onBytes: () => onBytes?.(0) }));
}
