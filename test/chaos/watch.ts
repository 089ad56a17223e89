/** Follows every attempt at a training on every host by its events, and keeps them beyond the attempt's folder. */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventSchema, type TrainerEvent } from '../../contracts/trainer.ts';
import type { Host } from './house.ts';

export type StepEvent = Extract<TrainerEvent, { type: 'step' }>;
type CheckpointEvent = Extract<TrainerEvent, { type: 'checkpoint' }>;

const LOOK_MS = 25;
const CHUNK_BYTES = 64 * 1024;

/** One attempt, as its trainer has told of it so far. */
export class Attempt {
  readonly prefix: string;
  readonly trainKey: string;
  readonly host: string;
  /** Gone when the next attempt on this host begins. */
  readonly folder: string;
  readonly events: TrainerEvent[] = [];
  readonly #handle: FileHandle;
  readonly #decoder = new StringDecoder('utf8');
  #offset = 0;
  #rest = '';

  constructor(at: { prefix: string; trainKey: string; host: string; folder: string }, handle: FileHandle) {
    this.prefix = at.prefix;
    this.trainKey = at.trainKey;
    this.host = at.host;
    this.folder = at.folder;
    this.#handle = handle;
  }

  /** Null until the checkpoint was read. */
  get fromStep(): number | null {
    return this.events.find((event) => event.type === 'plan')?.fromStep ?? null;
  }

  get steps(): StepEvent[] {
    return this.events.filter((event) => event.type === 'step');
  }

  get checkpoints(): CheckpointEvent[] {
    return this.events.filter((event) => event.type === 'checkpoint');
  }

  /** The newest step done. */
  get step(): number {
    return this.steps.at(-1)?.step ?? this.fromStep ?? 0;
  }

  get phase(): string | null {
    return this.events.findLast((event) => event.type === 'phase')?.phase ?? null;
  }

  /** The open file outlives its folder, so that nothing an attempt has said is missed. */
  async read(): Promise<void> {
    const buffer = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const lines = (this.#rest + this.#decoder.write(buffer.subarray(0, bytesRead))).split('\n');
      this.#rest = lines.pop() ?? '';
      this.events.push(...lines.map((line) => eventSchema.parse(JSON.parse(line))));
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

export class Watch {
  readonly #hosts: ReadonlyMap<string, Host>;
  readonly #attempts = new Map<string, Attempt>();
  readonly #going: Promise<void>;
  #looking: Promise<void> | null = null;
  #over = false;

  constructor(hosts: ReadonlyMap<string, Host>) {
    this.#hosts = hosts;
    this.#going = this.#go();
  }

  /** Oldest first: prefixes begin with the time. */
  get attempts(): Attempt[] {
    return [...this.#attempts.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
  }

  /** Reads all that has been told up to now. */
  async look(): Promise<void> {
    // One under way may have read before what the caller wants to see.
    await this.#looking;
    this.#looking ??= this.#read().finally(() => (this.#looking = null));
    await this.#looking;
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#going;
    await this.look();
    await Promise.all(this.attempts.map((attempt) => attempt.close()));
  }

  async #go(): Promise<void> {
    while (!this.#over) {
      await this.look();
      await sleep(LOOK_MS);
    }
  }

  async #read(): Promise<void> {
    for (const { name, cacheDir } of this.#hosts.values()) await this.#find(name, join(cacheDir, 'training'));
    for (const attempt of this.#attempts.values()) await attempt.read();
  }

  async #find(host: string, root: string): Promise<void> {
    for (const trainKey of await readdir(root).catch(() => [])) {
      for (const prefix of await readdir(join(root, trainKey)).catch(() => [])) {
        if (prefix === 'checkpoints' || this.#attempts.has(prefix)) continue;
        const folder = join(root, trainKey, prefix);
        const handle = await open(join(folder, 'events.jsonl')).catch(() => null);
        if (handle !== null) this.#attempts.set(prefix, new Attempt({ prefix, trainKey, host, folder }, handle));
      }
    }
  }
}
