/**
 * `reverie watch` and a schedule beside a real server that is killed and comes back, and the last word of a run to its
 * webhook when the CPU worker is killed while it is told. No GPU worker: the training waits for one all the time.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { type DevServer, startDevServer } from '../../cli/dev-server.ts';
import { worker } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import { TASK_QUEUE, WORKFLOW_TYPE } from '../../contracts/workflow-api.ts';
import { smallSpec } from '../crash/trainings.ts';
import { startReverie } from '../fixtures/command.ts';
import { eventually } from '../fixtures/eventually.ts';

const START_MS = 120_000;
let dir: string;
let server: DevServer;
let connection: Connection;
let client: Client;
let env: Record<string, string>;
let cpu: ReturnType<typeof worker>;
const heard: { id: string; type: string; answer: ServerResponse }[] = [];
const receiver = createServer((request, answer) => {
  let body = '';
  request.on('data', (chunk) => (body += chunk));
  request.on('end', () => heard.push({ id: String(request.headers['webhook-id']), ...JSON.parse(body), answer }));
});

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-watch-'));
  await new Promise<void>((listening) => receiver.listen(0, '127.0.0.1', listening));
  server = await startDevServer({ database: join(dir, 'temporal.db'), logs: dir, ports: { server: 0, ui: 0 } });
  env = {
    TEMPORAL_ADDRESS: server.address,
    TEMPORAL_NAMESPACE: 'default',
    REVERIE_STORE: pathToFileURL(join(dir, 'store')).href,
    REVERIE_CACHE_DIR: join(dir, 'cache'),
    REVERIE_NOTIFY_SECRET: 'secret',
  };
  await startCpuWorker();
  connection = await Connection.connect({ address: server.address });
  client = new Client({ connection });
});
after(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await connection?.close();
  await cpu?.stop();
  await server?.server.stop();
  await rm(dir, { recursive: true, force: true });
});

async function startCpuWorker(): Promise<void> {
  cpu = worker({ kind: 'cpu', env, logs: dir, graceSeconds: 5 });
  await cpu.ready(START_MS);
}

async function restartServer(): Promise<void> {
  const { address, uiUrl } = server;
  server.server.kill();
  await server.server.stop();
  await sleep(1500);
  const port = (of: string): number => Number(of.split(':').at(-1));
  const ports = { server: port(address), ui: port(uiUrl) };
  server = await startDevServer({ database: join(dir, 'temporal.db'), logs: dir, ports });
  assert.equal(server.address, address);
}

/** Of a process, user and system, in seconds. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) / 100;
}

test('watch goes on over a restart of the server, and a killed worker tells again', { timeout: 240_000 }, async (t) => {
  const { port } = receiver.address() as AddressInfo;
  const spec = smallSpec(10);
  const notify = { url: `http://127.0.0.1:${port}/hook`, events: ['failed' as const] };
  const handle = await startRun({
    client,
    workflowId: 'watched',
    spec: { ...spec, policy: { ...spec.policy, notify } },
  });
  const [one, all] = [startReverie(['watch', 'watched', '--json'], { env }), startReverie(['watch'], { env })];
  t.after(() => {
    for (const each of [one, all]) each.signal('SIGKILL');
  });
  const trains = async (): Promise<true | null> => {
    const { raw } = await handle.describe();
    return (raw.pendingActivities ?? []).some(({ activityType }) => activityType?.name === 'train') || null;
  };
  await eventually('the training waits for a GPU worker', trains, 60_000);

  await sleep(5000);
  const [beforeS, fromMs] = [await cpuSeconds(one.pid), performance.now()];
  await sleep(5000);
  const share = (await cpuSeconds(one.pid)) - beforeS;
  const percent = (100_000 * share) / (performance.now() - fromMs);
  t.diagnostic(`watch takes ${percent.toFixed(1)} % of a core`);
  assert.ok(percent < 10, `${percent} %`);

  // Nights that are refused at once.
  const schedule = await client.schedule.create({
    scheduleId: 'short-nights',
    spec: { intervals: [{ every: '3s' }] },
    action: { type: 'startWorkflow', workflowType: WORKFLOW_TYPE, taskQueue: TASK_QUEUE, args: [{ epochs: 1 }] },
  });
  // However long a server on a busy machine takes to find its timers again.
  const nightAfter = (atMs: number) =>
    eventually(
      'a night',
      async () => {
        const { recentActions } = (await schedule.describe()).info;
        return recentActions.some(({ takenAt }) => takenAt.getTime() > atMs) || null;
      },
      60_000,
    );
  await nightAfter(0);
  await restartServer();
  await eventually('the server knows the run', trains, 30_000);
  await nightAfter(Date.now());
  await schedule.delete();
  await handle.cancel();
  const first = await eventually('told', async () => heard[0] ?? null, 60_000);
  // It has arrived, and the worker dies before it can say so.
  cpu.kill();
  await cpu.stop();
  first.answer.end();
  await startCpuWorker();
  const second = await eventually('told again', async () => heard[1] ?? null, 60_000);
  second.answer.end();
  assert.equal(first.type, 'run.failed');
  assert.equal(second.id, first.id);
  await assert.rejects(handle.result());

  const { code, stdout } = await one.ended;
  assert.equal(code, 1);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.ok(
    lines.some(({ execution, stage }) => (execution === 'running' && stage === 'eval base') || stage === 'train'),
  );
  assert.equal(lines.at(-1).execution, 'cancelled');
  const said = async (): Promise<true | null> => /^watched is cancelled$/m.test(all.said()) || null;
  await eventually('the watch of all says so too', said, 30_000);
  all.signal('SIGINT');
  const ended = await all.ended;
  assert.equal(ended.code, 130);
  assert.match(ended.stdout, /^watched ✓ resolve/m);
  assert.equal(heard.length, 2);
});
