/** Downloads one file of the Hub: continued where it was cut, and accepted only with the hash that the Hub names. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReverieFailure } from '../../contracts/failures.ts';
import { asDiskFull } from '../store/disk-full.ts';
import type { Transfer } from '../store/store.ts';
import { hubHash } from './file-hash.ts';
import { backOffMs, type HubClient } from './hub-client.ts';
import { refuse, type SourceFile } from './source-tree.ts';

/** In a row and without a byte gained; every byte gained starts the count again. */
const MAX_IDLE_ATTEMPTS = 6;
/** With the attempts above, all of it ends before the activity counts as stalled. */
const MAX_SILENCE_MS = 15_000;

export interface FetchFile {
  client: HubClient;
  url: string;
  file: SourceFile;
  /** Grows beside it as `<to>.part`; there under its own name only when it is whole. */
  to: string;
  transfer?: Transfer;
}

export async function fetchFile({ client, url, file, to, transfer = {} }: FetchFile): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  // Also one that an earlier attempt finished is hashed again: a crash of the host can leave a name without its bytes.
  if ((await sizeOf(to)) === file.size && (await mismatch(to, file, transfer)) === null) return;
  await rm(to, { force: true });

  const part = `${to}.part`;
  for (let tries = 1; ; tries += 1) {
    await growToSize({ client, url, file, to: part, transfer });
    const got = await mismatch(part, file, transfer);
    if (got === null) return rename(part, to);
    await rm(part, { force: true });
    if (tries === 2) {
      throw refuse(
        client.kind,
        `${client.label}, file ${file.path} arrived twice with ${file.hash?.algorithm} ${got}; expected ${file.hash?.hex}, which the Hub lists; look for a proxy or mirror that alters it (HF_ENDPOINT is ${client.endpoint}), then start the run again.`,
      );
    }
  }
}

async function growToSize({ client, url, file, to, transfer = {} }: FetchFile): Promise<void> {
  let idle = 0;
  for (;;) {
    transfer.signal?.throwIfAborted();
    const before = await sizeOf(to);
    if (before === file.size) return;
    let cause = 'the connection was cut';
    try {
      await append(client, url, file, to, before ?? 0, transfer);
    } catch (error) {
      transfer.signal?.throwIfAborted();
      const full = asDiskFull(error, to);
      if (full) throw full;
      if (error instanceof ReverieFailure && error.type !== 'StoreUnavailable') throw error;
      cause = (error as Error).message;
    }
    const after = await sizeOf(to);
    if (after === file.size) return;
    if ((after ?? 0) > file.size) cause = `${after} bytes came; the Hub lists ${file.size}`;
    const gained = (after ?? 0) > (before ?? 0) && (after ?? 0) < file.size;
    idle = gained ? 0 : idle + 1;
    if (idle >= MAX_IDLE_ATTEMPTS) throw client.unavailable(url, idle, cause);
    await sleep(backOffMs(idle + 1), undefined, { ...(transfer.signal && { signal: transfer.signal }) });
  }
}

/** Writes what comes from `offset` on; returns or throws when the connection ends, whole or not. */
async function append(
  client: HubClient,
  url: string,
  file: SourceFile,
  part: string,
  offset: number,
  transfer: Transfer,
): Promise<void> {
  const silence = new AbortController();
  const signal = transfer.signal ? AbortSignal.any([transfer.signal, silence.signal]) : silence.signal;
  const resumed = offset > 0 && offset < file.size;
  const response = await client.request(url, {
    signal,
    attempts: 1,
    headers: resumed ? { Range: `bytes=${offset}-` } : {},
  });
  const continues =
    resumed && response.status === 206 && response.headers.get('Content-Range')?.startsWith(`bytes ${offset}-`);
  if (!continues && offset > 0) await truncate(part, 0);

  const out = createWriteStream(part, { flags: 'a' });
  const timer = setTimeout(() => silence.abort(new Error(`silence for ${MAX_SILENCE_MS / 1000} s`)), MAX_SILENCE_MS);
  try {
    await pipeline(
      response.body ? Readable.fromWeb(response.body) : Readable.from([]),
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          timer.refresh();
          transfer.onBytes?.(chunk.length);
          yield chunk;
        }
      },
      out,
      { signal },
    );
  } finally {
    clearTimeout(timer);
    // A write may be under way still; the next attempt continues at the size that the file has then.
    if (!out.closed) await once(out, 'close');
  }
}

/** The hash that it has instead, or null when it is as the Hub says. */
async function mismatch(path: string, file: SourceFile, transfer: Transfer): Promise<string | null> {
  if (file.hash === null) return null;
  const { signal } = transfer;
  // Hashing is progress, but not bytes moved.
  const hex = await hubHash(path, file.size, file.hash.algorithm, {
    ...(signal && { signal }),
    onBytes: () => transfer.onBytes?.(0),
  });
  return hex === file.hash.hex ? null : hex;
}

async function sizeOf(path: string): Promise<number | null> {
  return (await stat(path).catch(() => null))?.size ?? null;
}
