/** The bytes of one object of S3 from one place to another, asked for anew from where a connection broke. */
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { isNoSuchKey, statusOf } from './s3-errors.ts';
import type { Transfer } from './store.ts';

/** In a row and without a byte gained; every byte gained starts the count again. */
const MAX_IDLE_ATTEMPTS = 5;
const BACK_OFF_MS = 200;

/** The object was written anew between two requests: what came before belongs to other content. */
export class Replaced extends Error {}

/** The store answers with the whole, whatever part of it was asked for. */
export class WithoutRanges extends Error {}

export interface Source {
  client: S3Client;
  bucket: string;
  key: string;
}

export interface Version {
  size: number;
  etag: string;
}

/**
 * From byte `start` up to, and without, byte `end`. Thrown: Replaced, and WithoutRanges where the range is not all
 * that remains of the object. Calls `onBytes` with 0: progress, but only the reader knows which bytes will stay.
 */
export async function* readRange(
  source: Source,
  version: Version,
  { start, end }: { start: number; end: number },
  { signal, onBytes }: Transfer,
): AsyncGenerator<Uint8Array> {
  for (let position = start, idle = 0; position < end; ) {
    const before = position;
    let cause: unknown = new Error('the connection ended early');
    try {
      const { body, from } = await request(source, version, position, end, signal);
      let at = from;
      for await (const chunk of body) {
        signal?.throwIfAborted();
        onBytes?.(0);
        const wanted = chunk.subarray(Math.max(position - at, 0), end - at);
        at += chunk.length;
        position += wanted.length;
        if (wanted.length > 0) yield wanted;
        // More than was asked for.
        if (at > end) break;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const status = statusOf(error);
      if (status === 412 || isNoSuchKey(error)) throw replaced(source);
      if (error instanceof Replaced || error instanceof WithoutRanges) throw error;
      // The SDK has tried again where that helps; what it reports about the request itself is final.
      if (status !== undefined && status >= 400 && status < 500) throw error;
      cause = error;
    }
    idle = position > before ? 0 : idle + 1;
    if (idle === MAX_IDLE_ATTEMPTS) throw cause;
    if (position < end) await sleep(BACK_OFF_MS * 2 ** idle, undefined, signal && { signal });
  }
}

/** The body, and at which byte of the object it begins. */
async function request(
  source: Source,
  { size, etag }: Version,
  position: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<{ body: AsyncIterable<Uint8Array>; from: number }> {
  const { client, bucket: Bucket, key: Key } = source;
  const { Body, ContentRange, ETag } = await client.send(
    new GetObjectCommand({ Bucket, Key, Range: `bytes=${position}-${end - 1}`, IfMatch: etag }),
    signal ? { abortSignal: signal } : {},
  );
  const body = Body as Readable;
  const refuse = (error: Error): never => {
    body.destroy();
    throw error;
  };
  // Some stores take the condition and ignore it.
  if (ETag !== undefined && ETag !== etag) refuse(replaced(source));
  if (ContentRange?.startsWith(`bytes ${position}-`)) return { body, from: position };
  // A store without ranges sends the whole: good for one connection, and much too much for each of many.
  if (end < size) refuse(new WithoutRanges());
  return { body, from: 0 };
}

const replaced = ({ key }: Source): Replaced => new Replaced(`${key} was replaced during its download`);
