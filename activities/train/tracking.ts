/**
 * Brings the curve of an attempt to people's tools, and its log and tracker files into the store, where they can be
 * followed from any machine: `tracking/<train key>/<attempt>/…`. Whatever fails here costs a picture, never a step.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { TrainerEvent } from '../../contracts/trainer.ts';
import type { GpuUse, Notice } from '../../contracts/workflow-api.ts';
import type { Store } from '../store/store.ts';

export const TRACKING = 'tracking/';
export const TRAIN_LOG = 'train.log';

/** Names the training that a run is at, or was at last: its train key. */
export const pointerOf = (workflowId: string): string => `${TRACKING}runs/${encodeURIComponent(workflowId)}`;

const PUT_EVERY_MS = 5000;
/** From the trainer's end to the last file in the store; no stop waits longer for a curve. */
const END_MS = 10_000;

export interface TrackingOptions {
  store: Store;
  python: string;
  trainKey: string;
  workflowId: string;
  attempt: string;
  runDir: string;
  fromStep: number;
  train: RunSpec['train'];
  /** Of the first attempt. */
  began: Date;
  log: Logger;
  onNotice: (notice: Notice) => void;
}

export class Tracking {
  readonly #options: TrackingOptions;
  readonly #dir: string;
  readonly #sidecar: ReturnType<typeof follow> | null;
  readonly #timer: NodeJS.Timeout;
  /** Size and time of each file when it was put. */
  readonly #put = new Map<string, string>();
  #putting: Promise<void> = Promise.resolve();
  #end: Promise<void> | null = null;

  constructor(options: TrackingOptions) {
    this.#options = options;
    this.#dir = join(options.runDir, 'tracking');
    this.#sidecar = options.train.trackers.length === 0 ? null : follow(options, this.#dir);
    this.#putting = this.#safely(() =>
      options.store.put(pointerOf(options.workflowId), Buffer.from(`${options.trainKey}\n`)),
    );
    this.#timer = setInterval(() => this.#putSoon(), PUT_EVERY_MS).unref();
  }

  take(event: TrainerEvent): void {
    if (event.type === 'step' || event.type === 'validation') this.#sidecar?.stdin.write(`${JSON.stringify(event)}\n`);
  }

  gpuUse(gpus: GpuUse[]): void {
    this.#sidecar?.stdin.write(`${JSON.stringify({ type: 'gpus', gpus })}\n`);
  }

  /** Never rejects; may be called again. */
  end(): Promise<void> {
    this.#end ??= Promise.race([this.#finish(), sleep(END_MS, undefined, { ref: false })]).finally(() =>
      this.#sidecar?.kill('SIGKILL'),
    );
    return this.#end;
  }

  async #finish(): Promise<void> {
    clearInterval(this.#timer);
    this.#sidecar?.stdin.end();
    await this.#sidecar;
    this.#putSoon();
    await this.#putting;
  }

  /** One after another: a slow store is not asked more often. */
  #putSoon(): void {
    this.#putting = this.#putting.then(() => this.#safely(() => this.#putChanged()));
  }

  async #putChanged(): Promise<void> {
    const { store, runDir, trainKey, attempt } = this.#options;
    const tracked = await readdir(this.#dir, { recursive: true }).catch(() => []);
    for (const name of [TRAIN_LOG, ...tracked]) {
      const file = name === TRAIN_LOG ? join(runDir, name) : join(this.#dir, name);
      const info = await stat(file).catch(() => null);
      if (!info?.isFile()) continue;
      const state = `${info.size} ${info.mtimeMs}`;
      if (this.#put.get(name) === state) continue;
      await store.put(`${TRACKING}${trainKey}/${attempt}/${name}`, await readFile(file));
      this.#put.set(name, state);
    }
  }

  async #safely(act: () => Promise<void>): Promise<void> {
    await act().catch((err: unknown) => this.#options.log.warn({ err }, 'log and curve did not get into the store'));
  }
}

function follow({ python, trainKey, fromStep, train, began, log, onNotice }: TrackingOptions, dir: string) {
  const { trackers, trackerProject, trackerRun, ...config } = train;
  const args = ['--dir', dir, '--from-step', String(fromStep), '--run-id', trainKey.slice(0, 32)];
  args.push('--project', trackerProject, '--name', trackerRun ?? nameOf(began), '--config', JSON.stringify(config));
  for (const tracker of trackers) args.push('--tracker', tracker);
  const tell = (tracker: string, error: string): void => {
    const message = `${tracker} gets no more of the curve: ${error}`;
    log.warn({ tracker, error }, 'a tracker is down; training goes on');
    onNotice({ type: 'TrackerDown', message, at: new Date().toISOString() });
  };
  const sidecar = execa(python, ['-m', 'dream_trainer', 'track', ...args], {
    env: { PYTHONUTF8: '1' },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    buffer: false,
    reject: false,
  });
  sidecar.stderr.resume();
  // One that has ended takes no more; its end is told below.
  sidecar.stdin.on('error', () => {});
  createInterface({ input: sidecar.stdout }).on('line', (line) => {
    const said = parse(line);
    if (said !== null) tell(said.tracker, said.error);
  });
  void sidecar.then(({ exitCode, signal, isTerminated }) => {
    if (exitCode !== 0 && !isTerminated) tell(trackers.join(' and '), `exit ${exitCode ?? signal}`);
  });
  return sidecar;
}

/** A tracker may print words of its own between. */
function parse(line: string): { tracker: string; error: string } | null {
  try {
    const { tracker, error } = JSON.parse(line) as Record<string, unknown>;
    return typeof tracker === 'string' && typeof error === 'string' ? { tracker, error } : null;
  } catch {
    return null;
  }
}

/** As the walkthrough names its runs. */
const nameOf = (began: Date): string =>
  `s1k-${began.toISOString().slice(0, 19).replaceAll('-', '').replaceAll(':', '').replace('T', '-')}`;
