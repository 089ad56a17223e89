/** What follows a training from any machine with its store: `reverie logs` and `reverie tensorboard`. */
import { appendFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { openStore } from '../activities/store/open-store.ts';
import type { Store } from '../activities/store/store.ts';
import { pointerOf, TRACKING, TRAIN_LOG } from '../activities/train/tracking.ts';
import { rejected } from '../contracts/failures.ts';
import { connectClient, NotReachable } from '../workers/connect.ts';
import { readEnvironment } from '../workers/environment.ts';
import { findRun } from './find-run.ts';

const LOOK_MS = 2000;

export interface LogsOptions {
  run: string;
  /** Until the run has closed. */
  follow: boolean;
  signal: AbortSignal;
  out?: NodeJS.WritableStream;
  warn?: (line: string) => void;
}

/** The trainer's own output, attempt after attempt. */
export async function logs({
  run,
  follow,
  signal,
  out = process.stdout,
  warn = (line) => void process.stderr.write(`${line}\n`),
}: LogsOptions): Promise<void> {
  const store = openStore(readEnvironment().storeUrl);
  const shown = new Map<string, number>();
  const show = async (): Promise<void> => {
    for (const { attempt, name, key, size } of await filesOf(store, await trainingOf(store, run))) {
      if (name !== TRAIN_LOG || size === shown.get(key)) continue;
      const text = (await store.get(key)) ?? new Uint8Array();
      if (!shown.has(key)) out.write(`── attempt ${attempt} ──\n`);
      out.write(text.subarray(shown.get(key) ?? 0));
      shown.set(key, text.length);
    }
  };
  const runIsOpen = openness(run, warn);
  while (follow && !signal.aborted && (await runIsOpen())) {
    // One that has not begun to train has nothing yet.
    await show().catch((error: unknown) => (shown.size > 0 ? Promise.reject(error as Error) : undefined));
    await sleep(LOOK_MS, null, { signal }).catch(() => {});
  }
  await show();
}

export interface TensorBoardOptions {
  run: string;
  port: number;
  signal: AbortSignal;
}

/** TensorBoard over a copy of the event files that grows with them. */
export async function tensorboard({ run, port, signal }: TensorBoardOptions): Promise<void> {
  const { storeUrl, python } = readEnvironment();
  const store = openStore(storeUrl);
  const trainKey = await trainingOf(store, run);
  const logdir = await mkdtemp(join(tmpdir(), 'reverie-tensorboard-'));
  try {
    if ((await mirror(store, trainKey, join(logdir, run))) === 0) {
      throw rejected(
        'InvalidSpec',
        `The training of ${run} has no TensorBoard files in ${store.url}; expected tensorboard among train.trackers; see \`reverie logs ${run}\` and the report.`,
      );
    }
    const args = ['-m', 'tensorboard.main', '--logdir', logdir, '--host', '127.0.0.1', '--port', String(port)];
    const program = execa(python, [...args, '--reload_interval', '5'], {
      cancelSignal: signal,
      stdio: ['ignore', 'inherit', 'inherit'],
      reject: false,
    });
    let ended = false;
    void program.then(() => {
      ended = true;
    });
    while (!ended) {
      await Promise.race([program, sleep(LOOK_MS)]);
      await mirror(store, trainKey, join(logdir, run)).catch(() => 0);
    }
    const { exitCode, isCanceled } = await program;
    if (exitCode !== 0 && !isCanceled) {
      throw new Error(
        `TensorBoard ended with exit ${exitCode}; expected it to serve on port ${port}; choose another with --port, or install it: ${python} -m pip install -e 'trainer[trackers]'.`,
      );
    }
  } finally {
    await rm(logdir, { recursive: true, force: true });
  }
}

/**
 * Appends, since TensorBoard keeps its files open; an attempt's name, which begins with its number, puts its file in
 * order. Returns how many there are.
 */
export async function mirror(store: Store, trainKey: string, folder: string): Promise<number> {
  await mkdir(folder, { recursive: true });
  const files = (await filesOf(store, trainKey)).filter(({ name }) => name.startsWith('tensorboard/'));
  for (const { attempt, name, key, size } of files) {
    const file = join(folder, `${attempt}.${name.slice('tensorboard/'.length)}`);
    const had = await stat(file).then(
      (info) => info.size,
      () => 0,
    );
    if (size > had) await appendFile(file, ((await store.get(key)) ?? new Uint8Array()).subarray(had));
  }
  return files.length;
}

async function trainingOf(store: Store, run: string): Promise<string> {
  const pointer = await store.get(pointerOf(run));
  if (pointer !== null) return Buffer.from(pointer).toString().trim();
  throw rejected(
    'InvalidSpec',
    `Run ${run} has trained nothing in the store ${store.url}; expected one whose training has begun; look with \`reverie status ${run}\`, or set REVERIE_STORE to the store that it writes to.`,
  );
}

interface TrackedFile {
  attempt: string;
  name: string;
  key: string;
  size: number;
}

/** Of all attempts, in order of their start. */
async function filesOf(store: Store, trainKey: string): Promise<TrackedFile[]> {
  const root = `${TRACKING}${trainKey}/`;
  const files: TrackedFile[] = [];
  for await (const { key, size } of store.list(root)) {
    const [attempt = '', ...name] = key.slice(root.length).split('/');
    files.push({ attempt, name: name.join('/'), key, size });
  }
  return files;
}

/** Whether the run is open. A server that does not answer for a while ends nothing; `warn` hears of it once. */
function openness(run: string, warn: (line: string) => void): () => Promise<boolean> {
  let isSilent = false;
  return async () => {
    try {
      const { client, connection } = await connectClient();
      try {
        const { status } = await findRun(client, run);
        isSilent = false;
        return status.name === 'RUNNING';
      } finally {
        await connection.close();
      }
    } catch (error) {
      if (!(error instanceof NotReachable)) throw error;
      if (!isSilent) warn(`${error.message} Until it does, what comes into the store is shown; Ctrl-C ends this.`);
      isSilent = true;
      return true;
    }
  };
}
