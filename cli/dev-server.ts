/** Temporal's dev server with its UI and a database file, on ports that are free. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { searchAttributes } from '../contracts/search-attributes.ts';
import { Child, NotReady } from './child.ts';
import { freePort } from './ports.ts';
import { findTemporal } from './setup/temporal.mjs';

export interface DevServerOptions {
  database: string;
  logs: string;
  /** Taken if they are free. */
  ports: { server: number; ui: number };
  signal?: AbortSignal | undefined;
}

export interface DevServer {
  server: Child;
  address: string;
  uiUrl: string;
}

const START_MS = 60_000;
const TRIES = 4;

/** A port can be taken between its choice and its use, by another stack that starts: then others are tried. */
export async function startDevServer({ database, logs, ports, signal }: DevServerOptions): Promise<DevServer> {
  for (let tries = 1; ; tries++) {
    const [port, uiPort] = [await freePort(ports.server), await freePort(ports.ui)];
    const server = new Child({
      name: 'The Temporal dev server',
      command: (await findTemporal()) ?? 'temporal',
      args: serverArguments(database, port, uiPort),
      logFile: join(logs, 'temporal.log'),
      readyText: 'Temporal Server:',
      stopSeconds: 10,
    });
    try {
      await server.ready(START_MS, signal);
      return { server, address: `127.0.0.1:${port}`, uiUrl: `http://127.0.0.1:${uiPort}` };
    } catch (error) {
      await server.stop();
      const taken = error instanceof NotReady && error.said.includes('address already in use');
      if (!taken || tries === TRIES) throw error;
      // Two that start together would get into each other's way every time.
      await sleep(1000 * tries * Math.random());
    }
  }
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
