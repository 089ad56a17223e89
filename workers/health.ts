/**
 * What a supervisor asks a worker: `/livez`, whether the process answers at all, and `/readyz`, whether it takes tasks.
 * A worker that drains is alive and not ready, so that nothing ends it while its trainer saves.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Health {
  /** Where it listens, as in `127.0.0.1:8080`. */
  address: string;
  close: () => Promise<void>;
}

/** `state` is the worker's own word, null before there is one. Throws where `address` cannot be listened on. */
export async function serveHealth(address: string, state: () => string | null): Promise<Health> {
  const { host, port } = parseAddress(address);
  const server = createServer(({ url, method }, response) => {
    const now = state();
    const known = method === 'GET' && (url === '/livez' || url === '/readyz');
    const ready = url === '/livez' || now === 'RUNNING';
    response.writeHead(known ? (ready ? 200 : 503) : 404, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(known ? { state: now ?? 'STARTING' } : { ask: ['/livez', '/readyz'] })}\n`);
  });
  await new Promise<void>((listening, failed) => {
    server.once('error', failed);
    server.listen(port, host, listening);
  });
  const { port: taken } = server.address() as AddressInfo;
  return {
    address: `${host}:${taken}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(() => closed()));
    },
  };
}

/** Throws with four parts for anything but host and port. */
export function parseAddress(address: string): { host: string; port: number } {
  const [, host, port] = /^\[?([^\s[\]]+?)\]?:(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65535) {
    throw new Error(`Address ${JSON.stringify(address)}; expected host and port; write it as in 0.0.0.0:9464.`);
  }
  return { host, port: Number(port) };
}
