/**
 * The checkpoints of one training in the store: `checkpoints/<train key>/<attempt>/step-<n>/`, manifest last. The key
 * is content, so every attempt and every run of the same training finds the same ones; each attempt writes under a
 * prefix of its own, so that a stale one harms nothing.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ReverieFailure } from '../../contracts/failures.ts';
import { localSteps, MANIFEST, readCheckpointManifest, stepOf, verifyCheckpoint } from './checkpoint-folder.ts';
import { Damaged } from './damaged.ts';
import { inParallel } from './in-parallel.ts';
import { checkedKey } from './keys.ts';
import type { ObjectInfo, Store, Transfer } from './store.ts';

const FILES_AT_ONCE = 2;
const HOUR_MS = 3600 * 1000;

export interface StoredCheckpoint {
  step: number;
  attempt: string;
  /** Key prefix in the store, with a slash at the end. */
  prefix: string;
  /** When its manifest was written. */
  committedMs: number;
}

export interface FetchedCheckpoint {
  folder: string;
  step: number;
  source: 'local' | 'store';
}

export interface FetchNewest {
  identity: string;
  transfer?: Transfer;
  /** Only checkpoints below this step: a roll-back after a divergence. */
  belowStep?: number;
  /** `where` is a folder or an address in the store. */
  onDamaged?: (where: string, reason: string) => void;
}

export interface Retain {
  keepNewest?: number;
  /** Also the one with the lowest validation loss. */
  best?: boolean;
  /** Steps that somebody resumes from at the moment. */
  reading?: readonly number[];
}

/** The object vanished between listing and reading: another attempt's retention was faster. */
class Vanished extends Error {
  override message = 'A checkpoint was deleted while it was read; expected it to stay; try again.';
}

export class Checkpoints {
  readonly #store: Store;
  readonly #root: string;
  /** Prefixes whose bytes did not verify here: they count for nothing in retention. */
  readonly #damaged = new Set<string>();

  constructor(store: Store, trainKey: string) {
    this.#store = store;
    this.#root = `checkpoints/${checkedKey(trainKey)}/`;
  }

  /** Those with a manifest, newest step first; of the same step, the one committed last first. */
  async list(): Promise<StoredCheckpoint[]> {
    const folders = await this.#folders();
    return folders.flatMap(({ manifest, objects: _, ...folder }) =>
      manifest === undefined ? [] : [{ ...folder, committedMs: manifest.modifiedMs }],
    );
  }

  /**
   * Uploads a complete local folder; files that an interrupted call has brought up are not sent again. Thrown when
   * the disk gives back other bytes than the trainer hashed: HardwareFault.
   */
  async publish(attempt: string, folder: string, transfer: Transfer = {}): Promise<StoredCheckpoint> {
    const bytes = await readFile(join(folder, MANIFEST));
    const manifest = readCheckpointManifest(bytes);
    const prefix = `${this.#root}${checkedKey(attempt)}/step-${manifest.step}/`;
    const sizes = new Map<string, number>();
    for await (const { key, size } of this.#store.list(prefix)) sizes.set(key, size);
    await inParallel(manifest.files, FILES_AT_ONCE, async (file) => {
      const key = prefix + file.path;
      if (sizes.get(key) === file.size) return;
      const sent = await this.#store.upload(key, join(folder, file.path), transfer);
      if (sent.sha256 === file.sha256) return;
      await this.#store.delete([key]);
      throw new ReverieFailure(
        'HardwareFault',
        `Checkpoint file ${join(folder, file.path)} was read with SHA-256 ${sent.sha256}; expected ${file.sha256}, as the trainer wrote it; look at this host's disk and memory.`,
        { host: hostname(), step: manifest.step },
      );
    });
    transfer.signal?.throwIfAborted();
    await this.#store.put(prefix + MANIFEST, bytes);
    return { step: manifest.step, attempt, prefix, committedMs: Date.now() };
  }

  /**
   * The newest checkpoint that verifies, as a local folder `<localRoot>/step-<n>`: for each step the local disk first,
   * then the store; damaged ones are reported and passed over. Null when there is none.
   */
  async fetchNewest(localRoot: string, options: FetchNewest): Promise<FetchedCheckpoint | null> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#fetchNewest(localRoot, options);
      } catch (error) {
        if (!(error instanceof Vanished) || tries === 5) throw error;
      }
    }
  }

  /**
   * Deletes all but the newest steps, the best and those being read, manifests first. Only whole checkpoints count as
   * kept; of one step the copy committed last is enough. Returns what was deleted.
   */
  async retain({ keepNewest = 2, best = true, reading = [] }: Retain = {}): Promise<StoredCheckpoint[]> {
    const whole = new Map<number, StoredCheckpoint & { loss: number | null }>();
    const all = await this.#folders();
    for (const { manifest, objects, ...folder } of all) {
      if (manifest === undefined || whole.has(folder.step) || this.#damaged.has(folder.prefix)) continue;
      const content = await this.#manifestBytes(folder.prefix)
        .then((bytes) => readCheckpointManifest(bytes, { step: folder.step }))
        .catch(nullIfDamaged);
      const sizes = new Map(objects.map(({ key, size }) => [key, size]));
      if (!content?.files.every(({ path, size }) => sizes.get(folder.prefix + path) === size)) continue;
      whole.set(folder.step, { ...folder, committedMs: manifest.modifiedMs, loss: content.validationLoss });
    }
    const newest = [...whole.values()];
    const kept = new Set(newest.slice(0, Math.max(keepNewest, 1)).map(({ prefix }) => prefix));
    if (best) {
      const measured = newest.filter(({ loss }) => loss !== null);
      // Later checkpoints repeat the newest measurement: the lowest step with it is the one that was measured.
      measured.sort((a, b) => Number(a.loss) - Number(b.loss) || a.step - b.step);
      if (measured[0]) kept.add(measured[0].prefix);
    }
    const deleted: StoredCheckpoint[] = [];
    for (const { manifest, objects, ...folder } of all) {
      if (manifest === undefined || kept.has(folder.prefix) || reading.includes(folder.step)) continue;
      await this.#deleteFolder(folder.prefix, objects);
      deleted.push({ ...folder, committedMs: manifest.modifiedMs });
    }
    return deleted;
  }

  /** Deletes what other attempts left without a manifest and have not touched for an hour. */
  async sweepLeftovers(ownAttempt: string): Promise<void> {
    for (const { manifest, attempt, prefix, objects } of await this.#folders()) {
      const touchedMs = Math.max(...objects.map(({ modifiedMs }) => modifiedMs));
      if (manifest !== undefined || attempt === ownAttempt || Date.now() - touchedMs < HOUR_MS) continue;
      await this.#deleteFolder(prefix, objects);
    }
  }

  async #fetchNewest(localRoot: string, options: FetchNewest): Promise<FetchedCheckpoint | null> {
    const { identity, transfer = {}, belowStep = Number.POSITIVE_INFINITY, onDamaged } = options;
    const stored = await this.list();
    const local = await localSteps(localRoot);
    const steps = [...new Set([...local, ...stored.map(({ step }) => step)])].sort((a, b) => b - a);
    for (const step of steps.filter((step) => step < belowStep)) {
      const folder = join(localRoot, `step-${step}`);
      if (local.includes(step)) {
        const reason = await reasonAgainst(() => verifyCheckpoint(folder, identity, transfer));
        if (reason === null) return { folder, step, source: 'local' };
        onDamaged?.(folder, reason);
      }
      for (const checkpoint of stored) {
        if (checkpoint.step !== step || this.#damaged.has(checkpoint.prefix)) continue;
        const reason = await reasonAgainst(() => this.downloadFiles(checkpoint, folder, identity, transfer));
        if (reason === null) return { folder, step, source: 'store' };
        this.#damaged.add(checkpoint.prefix);
        onDamaged?.(`${this.#store.url}/${checkpoint.prefix}`, reason);
      }
    }
    return null;
  }

  /** As a local folder, verified against its manifest; throws Damaged. Leaves no note: the store is only read. */
  async downloadFiles(
    { prefix, step, attempt }: Omit<StoredCheckpoint, 'committedMs'>,
    folder: string,
    identity: string,
    transfer: Transfer,
  ): Promise<void> {
    const bytes = await this.#manifestBytes(prefix);
    const manifest = readCheckpointManifest(bytes, { step, identity });
    // Named by its attempt: an interrupted download is continued, but never with another attempt's files.
    const incoming = `${folder}.${attempt}.incoming`;
    await mkdir(incoming, { recursive: true });
    await inParallel(manifest.files, FILES_AT_ONCE, async ({ path, sha256 }) => {
      const file = join(incoming, path);
      let got = await this.#store.download(prefix + path, file, transfer);
      // Once more from the first byte: it may have been the transfer.
      if (got && got.sha256 !== sha256) got = await this.#store.download(prefix + path, file, transfer);
      if (got === null) await this.#assertStillThere(prefix, `${path} is missing`);
      if (got?.sha256 !== sha256) throw new Damaged(`${path} has SHA-256 ${got?.sha256}, not ${sha256}`);
    });
    await writeFile(join(incoming, MANIFEST), bytes);
    await rm(folder, { recursive: true, force: true });
    await rename(incoming, folder);
  }

  async #manifestBytes(prefix: string): Promise<Uint8Array> {
    const bytes = await this.#store.get(prefix + MANIFEST);
    if (bytes === null) throw new Vanished();
    return bytes;
  }

  /** A file that is gone with its manifest was deleted on purpose; without, it was lost. */
  async #assertStillThere(prefix: string, reason: string): Promise<never> {
    throw (await this.#store.get(prefix + MANIFEST)) === null ? new Vanished() : new Damaged(reason);
  }

  async #folders() {
    const folders = new Map<string, { step: number; attempt: string; prefix: string; objects: ObjectInfo[] }>();
    for await (const object of this.#store.list(this.#root)) {
      const [attempt = '', name = ''] = object.key.slice(this.#root.length).split('/');
      const step = stepOf(name);
      if (step === null) continue;
      const prefix = `${this.#root}${attempt}/${name}/`;
      const folder = folders.get(prefix) ?? { step, attempt, prefix, objects: [] };
      folder.objects.push(object);
      folders.set(prefix, folder);
    }
    return [...folders.values()]
      .map((folder) => ({ ...folder, manifest: folder.objects.find(({ key }) => key === folder.prefix + MANIFEST) }))
      .sort((a, b) => b.step - a.step || (b.manifest?.modifiedMs ?? 0) - (a.manifest?.modifiedMs ?? 0));
  }

  /** The manifest goes first: what a crash leaves behind is a leftover, never a checkpoint with holes. */
  async #deleteFolder(prefix: string, objects: readonly ObjectInfo[]): Promise<void> {
    await this.#store.delete([prefix + MANIFEST]);
    await this.#store.delete(objects.map(({ key }) => key).filter((key) => key !== prefix + MANIFEST));
  }
}

/** Why a checkpoint does not verify; null when it does. A store or a disk that fails says nothing about it. */
async function reasonAgainst(check: () => Promise<unknown>): Promise<string | null> {
  try {
    await check();
    return null;
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return error.message;
  }
}

function nullIfDamaged(error: unknown): null {
  if (error instanceof Damaged || error instanceof Vanished) return null;
  throw error;
}
