/**
 * What `reverie up` starts on one machine: the Temporal dev server with its UI and a database file, a CPU worker and a
 * GPU-queue worker, as processes of their own.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkWritable, openStore } from '../activities/store/open-store.ts';
import { Child } from './child.ts';
import { startDevServer } from './dev-server.ts';

export interface Stack {
  address: string;
  uiUrl: string;
  logs: string;
  /** For children and clients: where this stack's server, store and cache are. */
  env: Record<string, string>;
  children: Record<'server' | 'cpu' | 'gpu', Child>;
  stop: () => Promise<void>;
}

export interface StackOptions {
  /** Database, logs. */
  stateDir: string;
  store: string;
  cacheDir: string;
  graceSeconds: number;
  /** Taken if they are free; 0 is any. */
  ports?: { server: number; ui: number };
  /** Aborted: gives up, and stops what it has started. */
  signal?: AbortSignal;
}

export interface WorkerOptions {
  kind: 'cpu' | 'gpu';
  /** Of the stack. */
  env: Record<string, string>;
  logs: string;
  graceSeconds: number;
  /** Further arguments of workers/main.ts. */
  args?: readonly string[];
}

const root = join(import.meta.dirname, '..');
const START_MS = 60_000;
/** Temporal's own defaults. */
const PORTS = { server: 7233, ui: 8233 };

/** All are up when it resolves; none is left when it throws. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { stateDir, store, cacheDir, graceSeconds, ports = PORTS, signal } = options;
  // Before anything is started, so that the reason is not buried in a worker's log.
  await checkWritable(openStore(store));
  const logs = join(stateDir, 'logs');
  await mkdir(logs, { recursive: true });
  const { server, address, uiUrl } = await startDevServer({
    database: join(stateDir, 'temporal.db'),
    logs,
    ports,
    signal,
  });
  const env = {
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: 'default',
    REVERIE_STORE: store,
    REVERIE_CACHE_DIR: cacheDir,
  };
  const started: Child[] = [server];
  const stop = async (): Promise<void> => {
    // Workers first: they report their last word to the server.
    await Promise.all(started.slice(1).map((child) => child.stop()));
    await server.stop();
  };
  try {
    const cpu = worker({ kind: 'cpu', env, logs, graceSeconds });
    const gpu = worker({ kind: 'gpu', env, logs, graceSeconds });
    started.push(cpu, gpu);
    await Promise.all([cpu.ready(START_MS, signal), gpu.ready(START_MS, signal)]);
    return { address, uiUrl, logs, env, children: { server, cpu, gpu }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One worker of a stack, as a process of its own. */
export function worker({ kind, env, logs, graceSeconds, args = [] }: WorkerOptions): Child {
  return new Child({
    name: `The ${kind} worker`,
    command: process.execPath,
    args: ['--import', 'tsx', join(root, 'workers', 'main.ts'), kind, '--grace-seconds', `${graceSeconds}`, ...args],
    env,
    logFile: join(logs, `${kind}-worker.log`),
    readyText: 'worker is ready',
    stopSeconds: graceSeconds + 15,
  });
}
