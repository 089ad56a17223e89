import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Connection } from '@temporalio/client';
import { type DevServer, startDevServer } from '../../../cli/dev-server.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', () => done(server)));
}

/** Hooks run in order of their registration: the servers have to be gone before the folders that they write into. */
function stoppedFirst(t: TestContext): DevServer[] {
  const servers: DevServer[] = [];
  t.after(() => Promise.all(servers.map(({ server }) => server.stop())));
  return servers;
}

test('avoids ports that are taken, and serves on others', { timeout: 60_000 }, async (t) => {
  const servers = stoppedFirst(t);
  const logs = await scratchFolder(t);
  const taken = await listen(0);
  t.after(() => taken.close());
  const { port } = taken.address() as { port: number };
  const started = await startDevServer({ database: `${logs}/t.db`, logs, ports: { server: port, ui: port } });
  servers.push(started);
  const { address } = started;
  assert.notEqual(address, `127.0.0.1:${port}`);
  const connection = await Connection.connect({ address });
  await connection.close();
});

test('tries other ports when one is taken between its choice and its use', { timeout: 60_000 }, async (t) => {
  // Both asked for one free port: the server takes it, and the UI finds it gone.
  const servers = stoppedFirst(t);
  const probe = await listen(0);
  const { port } = probe.address() as { port: number };
  await new Promise((done) => probe.close(done));
  const start = async (name: string): Promise<DevServer> => {
    const dir = await scratchFolder(t);
    const started = await startDevServer({ database: `${dir}/${name}.db`, logs: dir, ports: { server: port, ui: 0 } });
    servers.push(started);
    return started;
  };
  const both = await Promise.all([start('a'), start('b')]);
  assert.notEqual(both[0].address, both[1].address);
});
