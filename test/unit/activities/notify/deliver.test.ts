/** Deliveries to a real receiver on loopback. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { createNotifyActivities } from '../../../../activities/notify/activity.ts';
import { deliver, signature } from '../../../../activities/notify/deliver.ts';
import { freePort } from '../../../../cli/ports.ts';
import type { Notification } from '../../../../contracts/notification.ts';

const notification: Notification = {
  id: 'run-1',
  type: 'run.parked',
  timestamp: '2026-11-24T07:00:00.000Z',
  data: {
    ...{ workflowId: 's1k', runId: 'run', state: 'parked', stage: 'train', message: 'Out of memory', advice: 'Press' },
    ...{ until: null, report: null, accuracy: null, attempts: 1, gpuHours: 0 },
  },
};
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

let server: Server;
let url: string;
let heard: { request: IncomingMessage; body: string }[] = [];
before(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      heard.push({ request, body });
      if (request.url === '/hang') return;
      const status = Number(request.url?.slice(1));
      response.writeHead(status, status === 302 ? { location: '/200' } : {}).end('x'.repeat(100_000));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

test('signs as the reference library of Standard Webhooks does', () => {
  // Its Webhook(secret).sign('run-1', new Date(1700000000000), '{"type":"run.parked"}').
  const signed = signature(secret, 'run-1', '1700000000', '{"type":"run.parked"}');
  assert.equal(signed, 'v1,9D/45UWZ748EUZoVvoHE3lPbFKaIlCT8xGD4O34FYuY=');
  assert.notEqual(signature('plain', 'run-1', '1700000000', ''), signature('other', 'run-1', '1700000000', ''));
});

test('posts JSON with id, time and signature', async () => {
  heard = [];
  await deliver({ url: `${url}/204`, secret, notification });
  const [{ request, body }] = heard as [(typeof heard)[number]];
  assert.equal(request.method, 'POST');
  assert.deepEqual(JSON.parse(body), notification);
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signed } = request.headers;
  assert.equal(id, 'run-1');
  assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 60);
  assert.equal(signed, signature(secret, 'run-1', String(timestamp), body));
});

test('says what came instead of a 2xx, and never more of the address than its host', async () => {
  const to = (path: string) => deliver({ url: `${url}/${path}`, secret, notification, timeoutMs: 300 });
  await assert.rejects(to('500'), /^Error: The webhook at 127\.0\.0\.1:\d+ answered 500; expected a 2xx/);
  await assert.rejects(to('302'), /answered 302/);
  await assert.rejects(to('hang'), /gave no answer within 300 ms; expected a 2xx; look whether the receiver is up\.$/);
  const down = `http://127.0.0.1:${await freePort(0)}/token`;
  await assert.rejects(deliver({ url: down, secret, notification }), (error: Error) => {
    assert.match(error.message, /at 127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\); expected/);
    assert.doesNotMatch(error.message, /token/);
    return true;
  });
});

test('sends nothing unsigned', async () => {
  heard = [];
  const activities = createNotifyActivities({ notifySecrets: { REVERIE_NOTIFY_SECRET: '' } });
  const request = { url: `${url}/200`, secretVariable: 'REVERIE_NOTIFY_SECRET', notification };
  await assert.rejects(
    activities.notify(request),
    /The variable REVERIE_NOTIFY_SECRET is empty on this worker; expected/,
  );
  assert.deepEqual(heard, []);
});
