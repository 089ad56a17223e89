/**
 * Artifacts in the store and their copies on this host. An artifact exists when its manifest does and every file has
 * the size and hash that it names; anything less is rebuilt, never served.
 */
import { lstat, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ReverieFailure } from '../../contracts/failures.ts';
import type { ArtifactManifest, ArtifactRef, ArtifactStage, ManifestFile } from '../../contracts/stages.ts';
import { digestOf, MANIFEST, readManifest, writeManifest } from './artifact-manifest.ts';
import { Damaged } from './damaged.ts';
import { hashBytes, hashFile } from './hashing.ts';
import { inParallel } from './in-parallel.ts';
import type { Store, Transfer } from './store.ts';

/** Up to this size a look-up hashes the whole artifact again; above, sizes must do until the files are fetched. */
const REHASH_BYTES = 64 * 1024 * 1024;
const FILES_AT_ONCE = 3;

export class Artifacts {
  readonly #store: Store;
  readonly #cacheDir: string;
  readonly #onDamaged: (uri: string, reason: string) => void;
  /** Manifests whose files came from this process: another worker's commit may hold other bytes of the same size. */
  readonly #uploaded = new WeakSet<ArtifactManifest>();

  constructor(store: Store, cacheDir: string, onDamaged: (uri: string, reason: string) => void = () => {}) {
    this.#store = store;
    this.#cacheDir = cacheDir;
    this.#onDamaged = onDamaged;
  }

  ref(manifest: ArtifactManifest): ArtifactRef {
    return { stage: manifest.stage, key: manifest.key, digest: manifest.digest };
  }

  uri({ stage, key }: { stage: ArtifactStage; key: string }): string {
    return `${this.#store.url}/${prefixOf(stage, key)}`;
  }

  /** Null when there is none, and when it is damaged. */
  async lookUp<S>(stage: ArtifactStage, key: string, transfer: Transfer = {}): Promise<ArtifactManifest<S> | null> {
    const bytes = await this.#store.get(prefixOf(stage, key) + MANIFEST);
    if (bytes === null) return null;
    try {
      const manifest = readManifest<S>(bytes, stage, key);
      await this.#checkFiles(manifest, transfer);
      return manifest;
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      this.#onDamaged(this.uri({ stage, key }), error.message);
      return null;
    }
  }

  /**
   * Uploads every file of `dir`, then the manifest. Where another worker has committed the same key in the meantime,
   * its artifact stands and is returned, so that what was handed out once is never overwritten.
   */
  async commit<S>(
    stage: ArtifactStage,
    key: string,
    dir: string,
    summary: S,
    transfer: Transfer = {},
  ): Promise<ArtifactManifest<S>> {
    const theirs = await this.lookUp<S>(stage, key, transfer);
    if (theirs !== null) return theirs;
    const prefix = prefixOf(stage, key);
    // A damaged artifact must not become half old and half new under a manifest.
    await this.#store.delete([prefix + MANIFEST]);
    const paths = await filesUnder(dir);
    if (paths.includes(MANIFEST)) throw new TypeError(`stage ${stage} left a ${MANIFEST}, a name that is reserved`);
    const files = await inParallel(paths, FILES_AT_ONCE, async (path): Promise<ManifestFile> => {
      const { size, sha256 } = await this.#store.upload(prefix + path, join(dir, path), transfer);
      return { path, size, sha256 };
    });
    const committedAt = new Date().toISOString();
    const manifest: ArtifactManifest<S> = {
      version: 1,
      stage,
      key,
      digest: digestOf(files),
      files,
      summary,
      committedAt,
    };
    transfer.signal?.throwIfAborted();
    await this.#store.put(prefix + MANIFEST, writeManifest(manifest));
    this.#uploaded.add(manifest);
    return manifest;
  }

  /** Moves the folder of a commit into the local cache, so that this host need not download what it has made. */
  async keep(manifest: ArtifactManifest, dir: string): Promise<void> {
    if (!this.#uploaded.has(manifest)) return;
    for (const { path } of manifest.files) {
      // A link leads to what may change later.
      if (!(await lstat(join(dir, path))).isFile()) return;
      await syncFile(join(dir, path));
    }
    await writeFile(join(dir, MANIFEST), writeManifest(manifest));
    const folder = this.#folder(manifest);
    await mkdir(dirname(folder), { recursive: true });
    // Where the folder exists already, it is as good.
    await rename(dir, folder).catch(() => undefined);
  }

  /**
   * A local folder with the artifact's files, or those that `wanted` names, each verified against its hash. Thrown
   * when the store lost or damaged it: ArtifactMissing, after the manifest was removed, so that a new run rebuilds it.
   */
  async fetch(
    ref: ArtifactRef,
    transfer: Transfer = {},
    wanted: (path: string) => boolean = () => true,
  ): Promise<string> {
    const folder = this.#folder(ref);
    const manifest = (await this.#cached(ref, folder)) ?? (await this.#stored(ref));
    const files = manifest.files.filter((file) => wanted(file.path));
    const rehash = files.reduce((sum, { size }) => sum + size, 0) <= REHASH_BYTES;
    await inParallel(files, FILES_AT_ONCE, async (file) => {
      const local = join(folder, file.path);
      for (let tries = 1; ; tries += 1) {
        // A file bears its name in the cache only once it was verified; small ones are verified each time.
        const sized = (await sizeOf(local)) === file.size;
        if (sized && (!rehash || (await hashFile(local, transfer)).sha256 === file.sha256)) return;
        try {
          return await this.#fetchFile(ref, file, local, transfer);
        } catch (error) {
          // Another fetch on this host, of the same file at the same time, has moved it on under this one.
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 5) throw error;
        }
      }
    });
    await mkdir(folder, { recursive: true });
    await replaceFile(join(folder, MANIFEST), writeManifest(manifest));
    return folder;
  }

  /** What `fetch` would have to bring here, by size. */
  async missingBytes(ref: ArtifactRef): Promise<number> {
    const folder = this.#folder(ref);
    const { files } = (await this.#cached(ref, folder)) ?? (await this.#stored(ref));
    const missing = await Promise.all(
      files.map(async ({ path, size }) => ((await sizeOf(join(folder, path))) === size ? 0 : size)),
    );
    return missing.reduce((sum, size) => sum + size, 0);
  }

  async #fetchFile(ref: ArtifactRef, file: ManifestFile, local: string, transfer: Transfer): Promise<void> {
    const key = prefixOf(ref.stage, ref.key) + file.path;
    const incoming = join(this.#cacheDir, 'scratch', `incoming-${ref.stage}-${ref.digest}`, file.path);
    let got = await this.#store.download(key, incoming, transfer);
    if (got !== null && got.sha256 !== file.sha256) {
      // Once more from the first byte: it may have been the transfer, or a partial file from before a crash.
      await rm(incoming, { force: true });
      got = await this.#store.download(key, incoming, transfer);
    }
    if (got?.sha256 !== file.sha256) {
      await rm(incoming, { force: true });
      await this.#store.delete([prefixOf(ref.stage, ref.key) + MANIFEST]);
      throw this.#missing(
        ref,
        got === null ? `${file.path} is gone` : `${file.path} has SHA-256 ${got.sha256}`,
        file.sha256,
      );
    }
    await mkdir(dirname(local), { recursive: true });
    await rename(incoming, local);
  }

  async #cached(ref: ArtifactRef, folder: string): Promise<ArtifactManifest | null> {
    try {
      const manifest = readManifest(await readFile(join(folder, MANIFEST)), ref.stage, ref.key);
      return manifest.digest === ref.digest ? manifest : null;
    } catch {
      return null;
    }
  }

  async #stored(ref: ArtifactRef): Promise<ArtifactManifest> {
    const bytes = await this.#store.get(prefixOf(ref.stage, ref.key) + MANIFEST);
    if (bytes === null) throw this.#missing(ref, 'its manifest is gone');
    let manifest: ArtifactManifest;
    try {
      manifest = readManifest(bytes, ref.stage, ref.key);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      await this.#store.delete([prefixOf(ref.stage, ref.key) + MANIFEST]);
      throw this.#missing(ref, error.message);
    }
    // Rebuilt since, with other bytes: sound for whoever asks anew, but not what this reference names.
    if (manifest.digest !== ref.digest) throw this.#missing(ref, `it now has digest ${manifest.digest}`, ref.digest);
    return manifest;
  }

  async #checkFiles(manifest: ArtifactManifest, transfer: Transfer): Promise<void> {
    const prefix = prefixOf(manifest.stage, manifest.key);
    const sizes = new Map<string, number>();
    for await (const { key, size } of this.#store.list(prefix)) sizes.set(key, size);
    for (const { path, size } of manifest.files) {
      const stored = sizes.get(prefix + path);
      if (stored !== size)
        throw new Damaged(`${path} ${stored === undefined ? 'is missing' : `has ${stored} bytes, not ${size}`}`);
    }
    if (manifest.files.reduce((sum, { size }) => sum + size, 0) > REHASH_BYTES) return;
    await inParallel(manifest.files, FILES_AT_ONCE, async ({ path, sha256 }) => {
      transfer.signal?.throwIfAborted();
      const bytes = await this.#store.get(prefix + path);
      if (bytes === null || (await hashBytes(bytes)) !== sha256) throw new Damaged(`${path} does not have its SHA-256`);
      transfer.onBytes?.(bytes.length);
    });
  }

  #folder({ stage, key }: { stage: ArtifactStage; key: string }): string {
    return join(this.#cacheDir, 'artifacts', stage, key);
  }

  #missing(ref: ArtifactRef, came: string, expected = 'every file as its manifest names it'): ReverieFailure {
    const uri = this.uri(ref);
    return new ReverieFailure(
      'ArtifactMissing',
      `Artifact ${uri}: ${came}; expected ${expected}; start the run again, which rebuilds it.`,
      { uri },
    );
  }
}

function prefixOf(stage: ArtifactStage, key: string): string {
  return `artifacts/${stage}/${key}/`;
}

/** Relative paths with forward slashes, sorted by code unit; links are followed. */
async function filesUnder(dir: string, prefix = ''): Promise<string[]> {
  const paths: string[] = [];
  for (const name of await readdir(join(dir, prefix))) {
    const path = prefix + name;
    if ((await stat(join(dir, path))).isDirectory()) paths.push(...(await filesUnder(dir, `${path}/`)));
    else paths.push(path);
  }
  return paths.sort();
}

async function sizeOf(file: string): Promise<number | null> {
  return (await stat(file).catch(() => null))?.size ?? null;
}

/** A name must not outlive its bytes when the host loses power: large files are trusted by name and size. */
async function syncFile(file: string): Promise<void> {
  const handle = await open(file);
  await handle.sync();
  await handle.close();
}

async function replaceFile(file: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${file}.${process.pid}.${performance.now()}`;
  await writeFile(temporary, bytes);
  await rename(temporary, file);
}
