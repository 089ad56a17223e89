/** Uploads checkpoints behind training, one at a time; while one is on its way only the newest other waits. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

export class Publisher {
  readonly #checkpoints: Checkpoints;
  readonly #attempt: string;
  readonly #log: Logger;
  readonly #onCommitted: (saved: Saved) => void;
  readonly #transfer: Transfer;
  #waiting: Saved | null = null;
  #running: Promise<void> | null = null;
  /** The newest upload's error, while none has succeeded since. */
  lastError: Error | null = null;

  constructor(options: {
    checkpoints: Checkpoints;
    attempt: string;
    log: Logger;
    transfer: Transfer;
    onCommitted: (saved: Saved) => void;
  }) {
    this.#checkpoints = options.checkpoints;
    this.#attempt = options.attempt;
    this.#log = options.log;
    this.#transfer = options.transfer;
    this.#onCommitted = options.onCommitted;
  }

  /** Returns at once. A checkpoint still waiting is replaced: the newer one holds all that it does. */
  add(saved: Saved): void {
    this.#waiting = saved;
    this.#running ??= this.#drain().finally(() => (this.#running = null));
  }

  /** Resolves when nothing is under way; throws the newest error where the newest checkpoint did not arrive. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
    if (this.lastError !== null) throw this.lastError;
  }

  async #drain(): Promise<void> {
    for (let saved = this.#waiting; saved !== null; saved = this.#waiting) {
      this.#waiting = null;
      const hold = join(saved.folder, HOLD);
      try {
        await writeFile(hold, '');
        await this.#checkpoints.publish(this.#attempt, saved.folder, this.#transfer);
        this.lastError = null;
        this.#onCommitted(saved);
        await this.#checkpoints.retain();
      } catch (error) {
        // Training goes on while the disk holds: the next checkpoint brings everything up.
        this.lastError = error instanceof Error ? error : new Error(String(error));
        this.#log.warn({ step: saved.step, err: error }, 'checkpoint not uploaded; training goes on');
      } finally {
        await rm(hold, { force: true });
      }
    }
  }
}
