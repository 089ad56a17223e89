/**
 * The checkpoints of one training in the store: `checkpoints/<train key>/<attempt>/step-<n>/`, manifest last. The key
 * is content, so every attempt and every run of the same training finds the same ones; each attempt writes under a
 * prefix of its own, so that a stale one harms nothing.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ReverieFailure } from '../../contracts/failures.ts';
import {
  Foreign,
  localSteps,
  MANIFEST,
  readCheckpointManifest,
  stepOf,
  verifyCheckpoint,
} from './checkpoint-folder.ts';
import { Damaged } from './damaged.ts';
import { hashBytes } from './hashing.ts';
import { inParallel } from './in-parallel.ts';
import { checkedKey } from './keys.ts';
import type { ObjectInfo, Store, Transfer } from './store.ts';

const FILES_AT_ONCE = 2;
const HOUR_MS = 3600 * 1000;
const HISTORY = 'history.jsonl';
/** Beside the attempts: notes `step-<n>.<unique>` of who reads which step, good for an hour. */
const READING = '.reading/';

export interface StoredCheckpoint {
  step: number;
  attempt: string;
  /** Key prefix in the store, with a slash at the end. */
  prefix: string;
  /** When its manifest was written. */
  committedMs: number;
}

/** A checkpoint, whole or not, with all that lies under its prefix. */
interface Folder extends Omit<StoredCheckpoint, 'committedMs'> {
  objects: ObjectInfo[];
  manifest: ObjectInfo | undefined;
}

export interface FetchedCheckpoint {
  folder: string;
  step: number;
  source: 'local' | 'store';
  /** False where it holds all that the trainer would read of the base's weights. */
  needsBase: boolean;
}

export interface FetchNewest {
  identity: string;
  transfer?: Transfer;
  /** Known to have been committed: its files without a manifest are damage, and no upload under way. */
  seenStep?: number | null;
  /** Only checkpoints below this step: a roll-back after a divergence. */
  belowStep?: number;
  /** Passes over, without a word, what has another history: the text of its history.jsonl. */
  fits?: (history: string) => boolean;
  /** `where` is a folder or an address in the store. */
  onDamaged?: (where: string, reason: string) => void;
}

export interface Retain {
  keepNewest?: number;
  /** Also the one with the lowest validation loss. */
  best?: boolean;
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
  #expected: { identity?: string } = {};

  constructor(store: Store, trainKey: string) {
    this.#store = store;
    this.#root = `checkpoints/${checkedKey(trainKey)}/`;
  }

  /** Those with a manifest, newest step first; of the same step, the one committed last first. */
  async list(): Promise<StoredCheckpoint[]> {
    return committed(await this.#folders());
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
   * kept; of one step the copy committed last is enough. What is of another training or a newer version is not ours to
   * delete. Returns what was deleted.
   */
  async retain({ keepNewest = 2, best = true }: Retain = {}): Promise<StoredCheckpoint[]> {
    const whole = new Map<number, StoredCheckpoint & { loss: number | null }>();
    const kept = new Set<string>();
    const all = await this.#folders();
    const reading = await this.#reading();
    for (const { manifest, objects, ...folder } of all) {
      if (manifest === undefined || whole.has(folder.step) || this.#damaged.has(folder.prefix)) continue;
      const content = await this.#manifestBytes(folder.prefix)
        .then((bytes) => readCheckpointManifest(bytes, { step: folder.step, ...this.#expected }))
        .catch((error: unknown) => {
          if (error instanceof Foreign) kept.add(folder.prefix);
          return nullIfDamaged(error);
        });
      const sizes = new Map(objects.map(({ key, size }) => [key, size]));
      if (!content?.files.every(({ path, size }) => sizes.get(folder.prefix + path) === size)) continue;
      whole.set(folder.step, { ...folder, committedMs: manifest.modifiedMs, loss: content.validationLoss });
    }
    const newest = [...whole.values()];
    for (const { prefix } of newest.slice(0, Math.max(keepNewest, 1))) kept.add(prefix);
    if (best) {
      const measured = newest.filter(({ loss }) => loss !== null);
      // Later checkpoints repeat the newest measurement: the lowest step with it is the one that was measured.
      measured.sort((a, b) => Number(a.loss) - Number(b.loss) || a.step - b.step);
      if (measured[0]) kept.add(measured[0].prefix);
    }
    const deleted: StoredCheckpoint[] = [];
    for (const { manifest, objects, ...folder } of all) {
      if (manifest === undefined || kept.has(folder.prefix) || reading.has(folder.step)) continue;
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
    const stale: string[] = [];
    for await (const { key, modifiedMs } of this.#store.list(this.#root + READING)) {
      if (Date.now() - modifiedMs > HOUR_MS) stale.push(key);
    }
    await this.#store.delete(stale);
  }

  async #fetchNewest(localRoot: string, options: FetchNewest): Promise<FetchedCheckpoint | null> {
    const { identity, transfer = {}, seenStep, belowStep = Number.POSITIVE_INFINITY, fits, onDamaged } = options;
    this.#expected = { identity };
    const folders = await this.#folders();
    const stored = committed(folders);
    const bereft = folders.filter(({ manifest, step }) => manifest === undefined && step === seenStep);
    const local = await localSteps(localRoot);
    const steps = [...new Set([...local, ...[...stored, ...bereft].map(({ step }) => step)])].sort((a, b) => b - a);
    for (const step of steps.filter((step) => step < belowStep)) {
      const folder = join(localRoot, `step-${step}`);
      if (local.includes(step)) {
        const damage = await damageOf(() => verifyCheckpoint(folder, identity, transfer));
        if (damage !== null) onDamaged?.(folder, damage.message);
        else if (!fits || fits(await readFile(join(folder, HISTORY), 'utf8'))) return found(folder, step, 'local');
      }
      for (const checkpoint of stored) {
        if (checkpoint.step !== step || this.#damaged.has(checkpoint.prefix)) continue;
        let fitting = true;
        const damage = await damageOf(async () => {
          if (fits) fitting = fits(await this.#history(checkpoint, identity));
          if (fitting) await this.#download(checkpoint, folder, identity, transfer);
        });
        if (!fitting) continue;
        if (damage === null) return found(folder, step, 'store');
        if (!(damage instanceof Foreign)) this.#damaged.add(checkpoint.prefix);
        onDamaged?.(`${this.#store.url}/${checkpoint.prefix}`, damage.message);
      }
      if (step !== seenStep || stored.some((checkpoint) => checkpoint.step === step)) continue;
      for (const { prefix } of bereft) onDamaged?.(`${this.#store.url}/${prefix}`, `${MANIFEST} is missing`);
    }
    return null;
  }

  async #download(
    { prefix, step, attempt }: StoredCheckpoint,
    folder: string,
    identity: string,
    transfer: Transfer,
  ): Promise<void> {
    const reading = `${this.#root}${READING}step-${step}.${randomUUID()}`;
    // A courtesy to slow readers: without the right to write, one that is deleted meanwhile is read anew.
    await this.#store.put(reading, Buffer.from(hostname())).catch(() => undefined);
    try {
      await this.downloadFiles({ prefix, step, attempt }, folder, identity, transfer);
    } finally {
      await this.#store.delete([reading]).catch(() => undefined);
    }
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

  /** Asked for before gigabytes are. */
  async #history({ prefix, step }: StoredCheckpoint, identity: string): Promise<string> {
    const manifest = readCheckpointManifest(await this.#manifestBytes(prefix), { step, identity });
    const bytes = await this.#store.get(prefix + HISTORY);
    if (bytes === null) return this.#assertStillThere(prefix, `${HISTORY} is missing`);
    const expected = manifest.files.find(({ path }) => path === HISTORY)?.sha256;
    const sha256 = await hashBytes(bytes);
    if (sha256 !== expected) throw new Damaged(`${HISTORY} has SHA-256 ${sha256}, not ${expected}`);
    return Buffer.from(bytes).toString('utf8');
  }

  /** Steps that an attempt somewhere is about to resume from. */
  async #reading(): Promise<Set<number>> {
    const steps = new Set<number>();
    const root = this.#root + READING;
    for await (const { key, modifiedMs } of this.#store.list(root)) {
      const step = stepOf(key.slice(root.length).split('.')[0] ?? '');
      if (step !== null && Date.now() - modifiedMs <= HOUR_MS) steps.add(step);
    }
    return steps;
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

  async #folders(): Promise<Folder[]> {
    const folders = new Map<string, Omit<Folder, 'manifest'>>();
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

async function found(folder: string, step: number, source: 'local' | 'store'): Promise<FetchedCheckpoint> {
  const { recipe, storedDtype } = readCheckpointManifest(await readFile(join(folder, MANIFEST)));
  return { folder, step, source, needsBase: recipe === undefined || recipe === 'lora' || storedDtype === undefined };
}

const committed = (folders: readonly Folder[]): StoredCheckpoint[] =>
  folders.flatMap(({ manifest, objects: _, ...folder }) =>
    manifest === undefined ? [] : [{ ...folder, committedMs: manifest.modifiedMs }],
  );

/** Why a checkpoint does not verify; null when it does. A store or a disk that fails says nothing about it. */
async function damageOf(check: () => Promise<unknown>): Promise<Damaged | null> {
  try {
    await check();
    return null;
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return error;
  }
}

function nullIfDamaged(error: unknown): null {
  if (error instanceof Damaged || error instanceof Vanished) return null;
  throw error;
}
