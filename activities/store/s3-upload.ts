/** One local file into one object of S3; a large one in parts, which a later call continues where an earlier broke off. */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  type MultipartUpload,
  PutObjectCommand,
  type S3Client,
  type Part as StoredPart,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { CHUNK_BYTES, type Hashed } from './hashing.ts';
import { inParallel } from './in-parallel.ts';
import { isPassing, statusOf } from './s3-errors.ts';
import type { Transfer } from './store.ts';

const PART_BYTES = 8 * 1024 * 1024;
/** With the part's size, the most that an upload holds in memory. */
const PARTS_AT_ONCE = 4;
/** S3's own limit for an object. */
const MAX_PARTS = 10_000;
/** For one part, beyond the SDK's own: a gateway that restarts is away for longer than those last. */
const PART_ATTEMPTS = 6;
const BACK_OFF_MS = 200;
const HOUR_MS = 3600 * 1000;

interface Target {
  client: S3Client;
  bucket: string;
  key: string;
}

interface Part {
  body: Uint8Array;
  /** Base64: the store refuses a body that does not have it. */
  md5: string;
  /** As S3 makes it, unless the object is encrypted with a key of its own. */
  etag: string;
}

/** A part that is there is not ours: it may be a living worker's, so it is neither replaced nor given up here. */
class OtherContent extends Error {}

/** Thrown with the parts kept, unless the signal was aborted: then nothing stays. */
export async function uploadFile(target: Target, file: string, transfer: Transfer): Promise<Hashed> {
  const source = await open(file);
  try {
    const { size } = await source.stat();
    if (size <= PART_BYTES) return await putWhole(target, source, size, transfer);
    const unfinished = await newestUnfinished(target);
    if (unfinished !== null) {
      try {
        return await uploadInParts(target, unfinished, source, size, transfer);
      } catch (error) {
        // Another upload of this object ended or changed what was to be continued, or never had our content.
        const names = ['NoSuchUpload', 'InvalidPart', 'InvalidPartOrder'];
        if (!(error instanceof OtherContent) && !names.includes((error as Error).name)) throw error;
      }
    }
    const { UploadId = '' } = await target.client.send(new CreateMultipartUploadCommand(objectOf(target)));
    return await uploadInParts(target, UploadId, source, size, transfer);
  } finally {
    await source.close();
  }
}

/** Gives up what no part has come to for an hour by the store's clock: whoever began it is dead. */
export async function sweepUploads({ client, bucket, key: Prefix }: Target): Promise<void> {
  const untilMs = Date.now() + client.config.systemClockOffset - HOUR_MS;
  for await (const { Key = '', UploadId = '', Initiated } of unfinished({ client, bucket, key: Prefix })) {
    if ((Initiated?.getTime() ?? 0) > untilMs) continue;
    const target = { client, bucket, key: Key };
    const parts = await partsOf(target, UploadId);
    if (parts.every(({ LastModified }) => (LastModified?.getTime() ?? 0) <= untilMs)) await abort(target, UploadId);
  }
}

async function putWhole(target: Target, source: FileHandle, size: number, transfer: Transfer): Promise<Hashed> {
  const hash = createHash('sha256');
  const { body, md5 } = await readPart(source, 0, size, hash, transfer.signal);
  const options = transfer.signal ? { abortSignal: transfer.signal } : {};
  await target.client.send(new PutObjectCommand({ ...objectOf(target), Body: body, ContentMD5: md5 }), options);
  transfer.onBytes?.(size);
  transfer.signal?.throwIfAborted();
  return { size, sha256: hash.digest('hex') };
}

async function uploadInParts(
  target: Target,
  UploadId: string,
  source: FileHandle,
  size: number,
  transfer: Transfer,
): Promise<Hashed> {
  const { signal, onBytes } = transfer;
  try {
    const there = new Map((await partsOf(target, UploadId)).map((part) => [part.PartNumber, part.ETag]));
    const hash = createHash('sha256');
    const partBytes = Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS));
    const starts = Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => index * partBytes);
    // Read one after the other, since the hash is over the whole; sent side by side.
    let read: Promise<unknown> = Promise.resolve();
    const Parts = await inParallel(starts, PARTS_AT_ONCE, async (start): Promise<CompletedPart> => {
      const reading = read.then(() => readPart(source, start, Math.min(partBytes, size - start), hash, signal));
      read = reading;
      const part = await reading;
      const PartNumber = start / partBytes + 1;
      const known = there.get(PartNumber);
      const kept = known?.replaceAll('"', '') === part.etag;
      if (known !== undefined && !kept) throw new OtherContent(`part ${PartNumber} of ${target.key} has other bytes`);
      const ETag = kept ? known : await sendPart(target, UploadId, PartNumber, part, signal);
      onBytes?.(kept ? 0 : part.body.length);
      return { PartNumber, ETag };
    });
    signal?.throwIfAborted();
    await target.client.send(
      new CompleteMultipartUploadCommand({ ...objectOf(target), UploadId, MultipartUpload: { Parts } }),
    );
    return { size, sha256: hash.digest('hex') };
  } catch (error) {
    // No part is under way any more: inParallel waits for all.
    if (signal?.aborted) await abort(target, UploadId).catch(() => undefined);
    throw error;
  }
}

async function sendPart(
  target: Target,
  UploadId: string,
  PartNumber: number,
  { body, md5 }: Part,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const command = new UploadPartCommand({ ...objectOf(target), UploadId, PartNumber, Body: body, ContentMD5: md5 });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await target.client.send(command, signal ? { abortSignal: signal } : {})).ETag;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPassing(error) || attempt === PART_ATTEMPTS) throw error;
      await sleep(BACK_OFF_MS * 2 ** attempt, undefined, signal && { signal });
    }
  }
}

async function readPart(
  source: FileHandle,
  start: number,
  length: number,
  hash: Hash,
  signal: AbortSignal | undefined,
): Promise<Part> {
  const body = Buffer.allocUnsafe(length);
  const md5 = createHash('md5');
  for (let at = 0; at < length; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await source.read(body, at, Math.min(CHUNK_BYTES, length - at), start + at);
    if (bytesRead === 0) {
      throw new Error(
        `A file ended at byte ${start + at} during its upload; expected ${start + length} or more, as it had at first; leave it alone until it is uploaded.`,
      );
    }
    const chunk = body.subarray(at, at + bytesRead);
    hash.update(chunk);
    md5.update(chunk);
    at += bytesRead;
  }
  const digest = md5.digest();
  return { body, md5: digest.toString('base64'), etag: digest.toString('hex') };
}

/** Null where there is none, and where the store or its rights do not let us ask: then all is sent. */
async function newestUnfinished(target: Target): Promise<string | null> {
  let newest: MultipartUpload | undefined;
  try {
    for await (const upload of unfinished(target)) {
      if (upload.Key === target.key && (upload.Initiated ?? 0) >= (newest?.Initiated ?? 0)) newest = upload;
    }
  } catch (error) {
    if (![403, 404, 405, 501].includes(statusOf(error) ?? 0)) throw error;
  }
  return newest?.UploadId ?? null;
}

/** All uploads under way whose key begins with the target's. */
async function* unfinished({ client, bucket, key: Prefix }: Target): AsyncGenerator<MultipartUpload> {
  for (let next: { KeyMarker?: string; UploadIdMarker?: string } | null = {}; next !== null; ) {
    const page: ListMultipartUploadsCommandOutput = await client.send(
      new ListMultipartUploadsCommand({ Bucket: bucket, Prefix, ...next }),
    );
    yield* page.Uploads ?? [];
    const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    next = IsTruncated && KeyMarker ? { KeyMarker, ...(UploadIdMarker && { UploadIdMarker }) } : null;
  }
}

async function partsOf(target: Target, UploadId: string): Promise<StoredPart[]> {
  const parts: StoredPart[] = [];
  // Not the SDK's paginator: it takes any marker for a next page, and some stores send one with the last.
  for (let after: { PartNumberMarker?: string } | null = {}; after !== null; ) {
    const page: ListPartsCommandOutput = await target.client.send(
      new ListPartsCommand({ ...objectOf(target), UploadId, ...after }),
    );
    parts.push(...(page.Parts ?? []));
    const { IsTruncated, NextPartNumberMarker: PartNumberMarker } = page;
    after = IsTruncated && PartNumberMarker ? { PartNumberMarker } : null;
  }
  return parts;
}

async function abort(target: Target, UploadId: string): Promise<void> {
  await target.client.send(new AbortMultipartUploadCommand({ ...objectOf(target), UploadId }));
}

const objectOf = ({ bucket, key }: Target) => ({ Bucket: bucket, Key: key });
