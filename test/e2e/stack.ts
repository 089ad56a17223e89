/** A real stack in a folder of its own: dev server, CPU worker and GPU worker as processes, on whatever ports are free. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import type { Child } from '../../cli/child.ts';
import { startStack, worker } from '../../cli/stack.ts';

export interface TestStack {
  /** Gone after `stop`. */
  dir: string;
  storeDir: string;
  cacheDir: string;
  /** For commands that are to use this stack. */
  env: Record<string, string>;
  client: Client;
  /** Temporal's UI. */
  uiUrl: string;
  cpu: Child;
  /** The newest GPU worker. */
  gpu: Child;
  /** Another GPU worker, after the last one was ended. */
  startGpuWorker(more?: Record<string, string>): Promise<Child>;
  stop(): Promise<void>;
}

const START_MS = 120_000;
const GRACE_SECONDS = 20;

export async function startTestStack(): Promise<TestStack> {
  const dir = await mkdtemp(join(tmpdir(), 'reverie-stack-'));
  const [storeDir, cacheDir] = [join(dir, 'store'), join(dir, 'cache')];
  const { env, logs, address, uiUrl, children, stop } = await startStack({
    stateDir: dir,
    store: pathToFileURL(storeDir).href,
    cacheDir,
    graceSeconds: GRACE_SECONDS,
    ports: { server: 0, ui: 0 },
  });
  const connection = await Connection.connect({ address });
  const later: Child[] = [];
  const stack: TestStack = {
    dir,
    storeDir,
    cacheDir,
    env,
    client: new Client({ connection, namespace: 'default' }),
    uiUrl,
    cpu: children.cpu,
    gpu: children.gpu,
    startGpuWorker: async (more = {}) => {
      const child = worker({ kind: 'gpu', env: { ...env, ...more }, logs, graceSeconds: GRACE_SECONDS });
      later.push(child);
      stack.gpu = child;
      await child.ready(START_MS);
      return child;
    },
    stop: async () => {
      await connection.close();
      await Promise.all(later.map((child) => child.stop()));
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return stack;
}
