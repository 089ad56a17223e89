/** A store that is a folder: objects are files, written under a temporary name, made durable, then renamed. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, type Dirent } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ReverieFailure } from '../../contracts/failures.ts';
import { asDiskFull } from './disk-full.ts';
import { CHUNK_BYTES, type Hashed, tap } from './hashing.ts';
import { checkedKey, checkedPrefix, conditionalWritesUnsupported } from './keys.ts';
import type { ObjectInfo, Store, Transfer } from './store.ts';

/** Holds unfinished writes; on the root's own file system, since rename is atomic only within one. */
const PARTIAL = '.partial';
const DAY_MS = 24 * 3600 * 1000;

export class FileStore implements Store {
  readonly url: string;
  readonly #root: string;
  #swept = false;

  constructor(root: string) {
    this.#root = resolve(root);
    this.url = pathToFileURL(this.#root).href;
  }

  async get(key: string): Promise<Uint8Array | null> {
    return this.#guard('get', key, () => orNull(readFile(this.#path(key))));
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    await this.#guard('put', key, () =>
      this.#write(async (temporary, out) => {
        await out.writeFile(body);
        await this.#publish(temporary, out, (target) => rename(temporary, target), key);
      }),
    );
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    return this.#guard('put', key, () =>
      this.#write(async (temporary, out) => {
        await out.writeFile(body);
        try {
          // A hard link fails where the name exists, which a rename does not.
          await this.#publish(temporary, out, (target) => link(temporary, target), key);
          return true;
        } catch (error) {
          if (hasCode(error, 'EEXIST')) return false;
          if (hasCode(error, 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EPERM')) throw conditionalWritesUnsupported(this.url);
          throw error;
        }
      }),
    );
  }

  async upload(key: string, file: string, transfer: Transfer = {}): Promise<Hashed> {
    checkedKey(key);
    // Opened outside the guard: a local file that is missing says nothing about the store.
    const source = await open(file);
    try {
      return await this.#guard('upload', key, () =>
        this.#write(async (temporary, out) => {
          const read = await copy(
            source.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false }),
            out,
            transfer,
          );
          await this.#publish(temporary, out, (target) => rename(temporary, target), key);
          return read;
        }),
      );
    } finally {
      await source.close();
    }
  }

  async download(key: string, file: string, transfer: Transfer = {}): Promise<Hashed | null> {
    const size = await this.#guard('download', key, () => orNull(stat(this.#path(key))));
    if (size === null) return null;
    await mkdir(dirname(file), { recursive: true });
    const temporary = `${file}.${randomUUID()}.partial`;
    const out = await open(temporary, 'wx');
    try {
      const read = await this.#guard('download', key, () =>
        orNull(
          copy(createReadStream(this.#path(key), { highWaterMark: CHUNK_BYTES }), out, transfer).catch((error) => {
            // Only the local side writes here.
            throw asDiskFull(error, file) ?? error;
          }),
        ),
      );
      if (read !== null) {
        await out.sync();
        await rename(temporary, file);
      }
      return read;
    } finally {
      await out.close();
      await rm(temporary, { force: true });
    }
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const folder = checkedPrefix(prefix).slice(0, prefix.lastIndexOf('/') + 1);
    const found: ObjectInfo[] = [];
    await this.#guard('list', prefix, () => this.#walk(folder, prefix, found));
    yield* found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      await this.#guard('delete', key, async () => {
        const path = this.#path(key);
        await rm(path, { force: true });
        await this.#prune(dirname(path));
      });
    }
  }

  #path(key: string): string {
    if (key.startsWith(`${PARTIAL}/`)) throw new TypeError(`store key ${key} lies among unfinished writes`);
    return join(this.#root, checkedKey(key));
  }

  async #walk(folder: string, prefix: string, found: ObjectInfo[]): Promise<void> {
    const entries: Dirent[] = (await orNull(readdir(join(this.#root, folder), { withFileTypes: true }))) ?? [];
    for (const entry of entries) {
      const key = folder + entry.name;
      if (key === PARTIAL) continue;
      if (entry.isDirectory()) {
        // Only what the prefix can still reach.
        if (`${key}/`.startsWith(prefix) || prefix.startsWith(`${key}/`)) await this.#walk(`${key}/`, prefix, found);
      } else if (key.startsWith(prefix)) {
        const info = await orNull(stat(join(this.#root, key)));
        if (info) found.push({ key, size: info.size, modifiedMs: info.mtimeMs });
      }
    }
  }

  async #write<T>(work: (temporary: string, out: FileHandle) => Promise<T>): Promise<T> {
    const folder = join(this.#root, PARTIAL);
    await mkdir(folder, { recursive: true });
    if (!this.#swept) {
      this.#swept = true;
      await sweepOld(folder);
    }
    const temporary = join(folder, randomUUID());
    const out = await open(temporary, 'wx');
    try {
      return await work(temporary, out);
    } finally {
      await out.close();
      await rm(temporary, { force: true });
    }
  }

  async #publish(
    temporary: string,
    out: FileHandle,
    name: (target: string) => Promise<void>,
    key: string,
  ): Promise<void> {
    await out.sync();
    const target = this.#path(key);
    for (let tries = 1; ; tries += 1) {
      try {
        await mkdir(dirname(target), { recursive: true });
        await name(target);
        break;
      } catch (error) {
        // A concurrent delete may have removed the folder as empty between the two calls.
        if (tries === 5 || !hasCode(error, 'ENOENT') || !(await orNull(stat(temporary)))) throw error;
      }
    }
    await syncFolder(dirname(target));
  }

  /** Empty folders mean nothing in a store; they go with their last object. */
  async #prune(folder: string): Promise<void> {
    for (let path = folder; path.length > this.#root.length; path = dirname(path)) {
      const removed = await rmdir(path).then(
        () => true,
        () => false,
      );
      if (!removed) return;
    }
  }

  async #guard<T>(operation: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const diskFull = asDiskFull(error, this.#root);
      if (diskFull) throw diskFull;
      const { code } = error as NodeJS.ErrnoException;
      // Errors without a code, or with Node's own (ABORT_ERR), come from callers: bad keys, cancellation.
      if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error;
      throw new ReverieFailure(
        'StoreUnavailable',
        `Store ${this.url} failed to ${operation} ${key === '' ? 'its objects' : key}: ${(error as Error).message}; expected a folder that this process may read and write; ${remedy(code)}.`,
        { operation },
        { cause: error },
      );
    }
  }
}

function remedy(code: string): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'give its owner the right to write there (chmod, chown) or set REVERIE_STORE to another folder';
    case 'EROFS':
      return 'mount it for writing or set REVERIE_STORE to another folder';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'a file stands where a folder is needed: move it away or set REVERIE_STORE to another folder';
    default:
      return 'check the disk or the network mount, then start the run again';
  }
}

async function copy(source: AsyncIterable<Uint8Array>, out: FileHandle, transfer: Transfer): Promise<Hashed> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of tap(source, hash, transfer)) {
    for (let at = 0; at < chunk.length; ) at += (await out.write(chunk, at)).bytesWritten;
    size += chunk.length;
  }
  return { size, sha256: hash.digest('hex') };
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder).catch(() => null);
  // Some network file systems refuse fsync on a folder; their rename is durable by other means.
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** A day is longer than any upload: what is older was left by a process that died. */
async function sweepOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const info = await orNull(stat(path));
    if (info && Date.now() - info.mtimeMs > DAY_MS) await rm(path, { force: true });
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}
