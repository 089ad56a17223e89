/**
 * Uploads checkpoints behind training, one at a time; while one is on its way only the newest other waits. One that does
 * not arrive is tried again until it does or a newer one takes its place.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Checkpoints } from '../store/checkpoints.ts';
import type { Transfer } from '../store/store.ts';

export interface Saved {
  step: number;
  folder: string;
  bytes: number;
}

/** The trainer's retention leaves a folder alone while it holds a file of this name. */
const HOLD = '.hold';
const RETRY_MS = 10_000;

export class Publisher {
  readonly #checkpoints: Checkpoints;
  readonly #attempt: string;
  readonly #log: Logger;
  readonly #onCommitted: (saved: Saved) => void;
  readonly #transfer: Transfer;
  readonly #retryMs: number;
  #waiting: Saved | null = null;
  #running: Promise<void> | null = null;
  #ending = false;
  #call = (): void => {};
  /** The newest upload's error, while none has succeeded since. */
  lastError: Error | null = null;

  constructor(options: {
    checkpoints: Checkpoints;
    attempt: string;
    log: Logger;
    transfer: Transfer;
    onCommitted: (saved: Saved) => void;
    retryMs?: number;
  }) {
    this.#checkpoints = options.checkpoints;
    this.#attempt = options.attempt;
    this.#log = options.log;
    this.#transfer = options.transfer;
    this.#onCommitted = options.onCommitted;
    this.#retryMs = options.retryMs ?? RETRY_MS;
  }

  /** Returns at once. A checkpoint still waiting is replaced: the newer one holds all that it does. */
  add(saved: Saved): void {
    this.#waiting = saved;
    this.#call();
    this.#running ??= this.#drain().finally(() => (this.#running = null));
  }

  /** Resolves when nothing is under way; throws the newest error where the newest checkpoint did not arrive. */
  async settled(): Promise<void> {
    this.#ending = true;
    this.#call();
    while (this.#running) await this.#running;
    if (this.lastError !== null) throw this.lastError;
  }

  async #drain(): Promise<void> {
    for (let saved = this.#waiting; saved !== null; saved = this.#waiting) {
      this.#waiting = null;
      const hold = join(saved.folder, HOLD);
      while (!(await this.#publish(saved, hold)) && (await this.#again())) {
        // Until it is up, a newer one waits, or the training ends.
      }
      await rm(hold, { force: true });
    }
  }

  async #publish(saved: Saved, hold: string): Promise<boolean> {
    try {
      await writeFile(hold, '');
      await this.#checkpoints.publish(this.#attempt, saved.folder, this.#transfer);
      this.lastError = null;
      this.#onCommitted(saved);
      await this.#checkpoints
        .retain()
        .catch((err: unknown) => this.#log.warn({ err }, 'older checkpoints stay in the store'));
      return true;
    } catch (error) {
      this.lastError = error instanceof Error ? error : new Error(String(error));
      this.#log.warn({ step: saved.step, err: error }, 'checkpoint not uploaded; training goes on');
      return false;
    }
  }

  /** After a while, or once it is called; false where there is nothing to try again, or nobody for whom. */
  async #again(): Promise<boolean> {
    if (this.#ending || this.#waiting !== null) return false;
    const called = new Promise<void>((call) => (this.#call = call));
    await Promise.race([sleep(this.#retryMs, undefined, { ref: false }), called]);
    return this.#waiting === null && this.#transfer.signal?.aborted !== true;
  }
}
