import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { freePort } from '../../../cli/ports.ts';

async function listen(t: TestContext, port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as { port: number }).port;
}

test('gives the preferred port while it is free', async () => {
  const port = await freePort(0);
  assert.equal(await freePort(port), port);
});

test('gives another, free one where the preferred is taken', async (t) => {
  const taken = await listen(t, 0);
  const port = await freePort(taken);
  assert.notEqual(port, taken);
  assert.equal(await listen(t, port), port);
});
