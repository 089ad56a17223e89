/** A long-lived child process with its output in a log file: ready by a sign, stopped to the end. */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

export interface ChildRequest {
  name: string;
  command: string;
  args: readonly string[];
  env?: Record<string, string>;
  logFile: string;
  /** Text in its output that tells that it is ready. */
  readyText?: string;
  /** From SIGTERM to SIGKILL. */
  stopSeconds: number;
}

/** A group of its own: Ctrl-C in the terminal reaches us alone, and we stop the children in order. */
const launch = ({ command, args, env }: ChildRequest) =>
  execa(command, args, {
    env: env ?? {},
    detached: true,
    buffer: false,
    reject: false,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });

export class Child {
  readonly request: ChildRequest;
  readonly #process: ReturnType<typeof launch>;
  #ready: () => void = () => {};
  readonly #isReady = new Promise<void>((done) => (this.#ready = done));
  #stopping = false;
  #released = false;

  constructor(request: ChildRequest) {
    this.request = request;
    const log = createWriteStream(request.logFile, { flags: 'a' });
    this.#process = launch(request);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        log.write(chunk);
        if (request.readyText && chunk.includes(request.readyText)) this.#ready();
      });
    }
    void this.#process.finally(() => log.end());
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Resolves at the sign; throws with the log's last lines when the child ends before. */
  async ready(timeoutMs: number): Promise<void> {
    const ended = this.#process.then(() => 'ended' as const);
    const first = await Promise.race([this.#isReady, ended, sleep(timeoutMs, 'late' as const, { ref: false })]);
    if (first === undefined) return;
    const tail = (await readFile(this.request.logFile, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
    throw new Error(
      `${this.request.name} ${first === 'late' ? `was not ready after ${timeoutMs / 1000} s` : 'ended at once'}; expected it to run; its log, ${this.request.logFile}, ends with:\n${tail}`,
    );
  }

  async stop(): Promise<void> {
    if (this.#stopping) return void (await this.#process);
    this.#stopping = true;
    this.#process.kill('SIGTERM');
    const ended = await Promise.race([this.#process, sleep(this.request.stopSeconds * 1000, null, { ref: false })]);
    if (ended === null) this.kill();
    await this.#process;
  }

  /** From here on it outlives this process. */
  release(): void {
    this.#released = true;
    this.#process.unref();
    for (const stream of [this.#process.stdout, this.#process.stderr]) (stream as unknown as { unref(): void }).unref();
  }

  kill(): void {
    if (this.#released) return;
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
}
