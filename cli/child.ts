/** A long-lived child process whose output goes straight into a log file: ready by a sign in it, stopped to the end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ChildRequest {
  name: string;
  command: string;
  args: readonly string[];
  env?: Record<string, string>;
  logFile: string;
  /** Text in its output that tells that it is ready. */
  readyText: string;
  /** From SIGTERM to SIGKILL. */
  stopSeconds: number;
}

const LOOK_MS = 50;

/**
 * A group of its own: Ctrl-C in the terminal reaches us alone, and we stop the children in order. The log is the
 * child's own file, so that it can outlive us.
 */
const launch = ({ command, args, env }: ChildRequest, log: number) =>
  spawn(command, args, { env: { ...process.env, ...env }, detached: true, stdio: ['ignore', log, log] });

/** `said` is all that the child has written to its log. */
export class NotReady extends Error {
  readonly said: string;

  constructor(message: string, said: string) {
    super(message);
    this.said = said;
  }
}

export class Child {
  readonly request: ChildRequest;
  readonly #process: ReturnType<typeof launch>;
  readonly #logStart: number;
  readonly #over: Promise<void>;
  #ended = false;
  #stopping = false;
  #released = false;

  constructor(request: ChildRequest) {
    this.request = request;
    const log = openSync(request.logFile, 'a');
    // Before the child can write: what it says first is its sign.
    this.#logStart = fstatSync(log).size;
    this.#process = launch(request, log);
    closeSync(log);
    // However this process ends, nothing that it started stays, except what it released.
    const killOnExit = (): void => this.kill();
    process.once('exit', killOnExit);
    this.#over = Promise.race([once(this.#process, 'exit'), once(this.#process, 'error')])
      .catch(() => {})
      .then(() => {
        this.#ended = true;
        process.off('exit', killOnExit);
      });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get isRunning(): boolean {
    return !this.#ended;
  }

  /** Resolves at the sign; throws with the log's last lines when the child ends before. */
  async ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { name, logFile, readyText } = this.request;
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      const over = this.#ended || Date.now() > deadline;
      const said = (await readFile(logFile)).subarray(this.#logStart).toString();
      if (said.includes(readyText)) return;
      if (over) {
        const tail = said.trim().split('\n').slice(-5).join('\n');
        const came = this.#ended ? 'ended at once' : `was not ready after ${timeoutMs / 1000} s`;
        throw new NotReady(`${name} ${came}; expected it to run; its log, ${logFile}, ends with:\n${tail}`, said);
      }
      await sleep(LOOK_MS);
    }
  }

  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#process.kill('SIGTERM');
      await Promise.race([this.#over, sleep(this.request.stopSeconds * 1000, null, { ref: false })]);
      if (!this.#ended) this.kill();
    }
    await this.#over;
  }

  /** From here on it outlives this process. */
  release(): void {
    this.#released = true;
    this.#process.unref();
  }

  kill(): void {
    if (this.#released || this.pid === undefined) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
}
