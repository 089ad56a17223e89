/**
 * What `reverie up` starts on one machine: the Temporal dev server with its UI and a database file, a CPU worker and a
 * GPU-queue worker, as processes of their own.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkWritable, openStore } from '../activities/store/open-store.ts';
import { searchAttributes } from '../contracts/search-attributes.ts';
import { Child } from './child.ts';
import { freePort } from './ports.ts';
import { findTemporal } from './setup/temporal.mjs';

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
  const [port, uiPort] = [await freePort(ports.server), await freePort(ports.ui)];
  const address = `127.0.0.1:${port}`;
  const env = {
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: 'default',
    REVERIE_STORE: store,
    REVERIE_CACHE_DIR: cacheDir,
  };
  const server = new Child({
    name: 'The Temporal dev server',
    command: (await findTemporal()) ?? 'temporal',
    args: serverArguments(join(stateDir, 'temporal.db'), port, uiPort),
    logFile: join(logs, 'temporal.log'),
    readyText: 'Temporal Server:',
    stopSeconds: 10,
  });
  const started: Child[] = [server];
  const stop = async (): Promise<void> => {
    // Workers first: they report their last word to the server.
    await Promise.all(started.slice(1).map((child) => child.stop()));
    await server.stop();
  };
  try {
    await server.ready(START_MS, signal);
    const cpu = worker({ kind: 'cpu', env, logs, graceSeconds });
    const gpu = worker({ kind: 'gpu', env, logs, graceSeconds });
    started.push(cpu, gpu);
    await Promise.all([cpu.ready(START_MS, signal), gpu.ready(START_MS, signal)]);
    return { address, uiUrl: `http://127.0.0.1:${uiPort}`, logs, env, children: { server, cpu, gpu }, stop };
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

function serverArguments(database: string, port: number, uiPort: number): string[] {
  const settings = [
    'matching.enableFairness=true',
    'matching.numTaskqueueReadPartitions=1',
    'matching.numTaskqueueWritePartitions=1',
  ];
  return [
    ...[
      'server',
      'start-dev',
      '--db-filename',
      database,
      '--ip',
      '127.0.0.1',
      '--port',
      String(port),
      '--ui-port',
      String(uiPort),
      '--log-level',
      'warn',
    ],
    ...Object.entries(searchAttributes).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
    ...settings.flatMap((setting) => ['--dynamic-config-value', setting]),
  ];
}
