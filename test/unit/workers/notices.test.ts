import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { readEnvironment } from '../../../workers/environment.ts';
import { graceOf, nextNotice, noticeSources, standingNotice, untilNoNotice } from '../../../workers/notices.ts';
import { awsTime, serveInstanceMetadata } from '../../fixtures/instance-metadata.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';

const never = new AbortController().signal;

function journal() {
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

async function aws(t: TestContext) {
  const service = await serveInstanceMetadata();
  t.after(() => service.close());
  const { log, lines } = journal();
  const sources = noticeSources({ noticeFile: null, instanceMetadata: service.url }, log);
  return { service, sources, lines };
}

test("asks AWS's metadata service with a token, and takes 404 for no notice", async (t) => {
  const { service, sources, lines } = await aws(t);
  assert.equal(await standingNotice(sources, never), null);
  assert.deepEqual(service.requests, [
    'PUT /latest/api/token 200',
    'GET /latest/meta-data/events/recommendations/rebalance 404',
    'GET /latest/meta-data/spot/instance-action 404',
  ]);
  assert.deepEqual(lines, []);
});

test('tells when the host goes, as AWS does, and renews a token that has run out', async (t) => {
  const { service, sources } = await aws(t);
  const time = awsTime(120);
  await standingNotice(sources, never);
  service.action = { action: 'terminate', time };
  service.forgetTokens();
  const notice = await standingNotice(sources, never);
  assert.equal(notice?.at?.getTime(), Date.parse(time));
  assert.match(notice?.told ?? '', /^AWS: .*terminate/);
  assert.ok(service.requests.includes('GET /latest/meta-data/events/recommendations/rebalance 401'));
});

test('only tells of a recommendation to rebalance, once', async (t) => {
  const { service, sources, lines } = await aws(t);
  service.rebalance = { noticeTime: awsTime(0) };
  assert.equal(await standingNotice(sources, never), null);
  assert.equal(await standingNotice(sources, never), null);
  assert.equal(lines.filter(({ msg }) => msg.includes('recommends')).length, 1);
});

test('says once that a metadata service has fallen silent, and goes on', async (t) => {
  const { service, sources, lines } = await aws(t);
  await standingNotice(sources, never);
  await service.close();
  assert.equal(await standingNotice(sources, never), null);
  assert.equal(await standingNotice(sources, never), null);
  assert.equal(lines.filter(({ level }) => level >= 40).length, 1);
});

test('does not ask for ever where nothing has answered, and says so to whoever debugs', async (t) => {
  let asked = 0;
  const mute = createServer(() => void asked++);
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  t.after(() => mute.closeAllConnections());
  t.after(() => mute.close());
  const { log, lines } = journal();
  const instanceMetadata = `http://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const sources = noticeSources({ noticeFile: null, instanceMetadata }, log);
  for (let looks = 0; looks < 5; looks++) assert.equal(await standingNotice(sources, never), null);
  assert.equal(asked, 3);
  assert.deepEqual(
    lines.map(({ level }) => level),
    [20],
  );
});

test('takes a file for a notice while it exists', async (t) => {
  const noticeFile = join(await scratchFolder(t), 'notice');
  const { log, lines } = journal();
  const sources = noticeSources({ noticeFile, instanceMetadata: null }, log);
  const coming = nextNotice(sources, never);
  await writeFile(noticeFile, '');
  assert.deepEqual(await coming, { told: `${noticeFile} exists`, at: null });

  let over = false;
  const waiting = untilNoNotice(sources, never, log).then(() => (over = true));
  await sleep(100);
  assert.equal(over, false);
  await rm(noticeFile);
  await waiting;
  assert.equal(lines.filter(({ msg }) => msg.includes('no work until')).length, 1);
});

test('hears a notice that comes while another source is being asked', async () => {
  const notice = { told: 'it goes', at: null };
  const slow = { everyMs: 1, look: (until: AbortSignal) => once(until, 'abort').then(() => null) };
  const sudden = { everyMs: 1, look: () => Promise.resolve(notice) };
  assert.equal(await nextNotice([slow, sudden], never), notice);
  assert.equal(await nextNotice([sudden, slow], never), notice);
});

test('stops watching and waiting when it is told to', async (t) => {
  const noticeFile = join(await scratchFolder(t), 'notice');
  const { log } = journal();
  const sources = noticeSources({ noticeFile, instanceMetadata: null }, log);
  assert.equal(await nextNotice(sources, AbortSignal.timeout(50)), null);
  await writeFile(noticeFile, '');
  await untilNoNotice(sources, AbortSignal.timeout(50), log);
});

test('leaves the trainer what the notice leaves, less a margin, and never more than its grace', () => {
  const at = (seconds: number) => ({ told: '', at: new Date(1_000_000 + seconds * 1000) });
  assert.equal(graceOf(at(120), 110, 1_000_000), 110);
  assert.equal(graceOf(at(60), 110, 1_000_000), 55);
  assert.equal(graceOf(at(-3), 110, 1_000_000), 1);
  assert.equal(graceOf({ told: '', at: null }, 110), 110);
});

test("follows AWS's own variables", () => {
  const read = (env: NodeJS.ProcessEnv) => readEnvironment(env).notices.instanceMetadata;
  assert.equal(read({}), 'http://169.254.169.254');
  assert.equal(read({ AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: 'IPv6' }), 'http://[fd00:ec2::254]');
  assert.equal(read({ AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1' }), 'http://127.0.0.1:1');
  assert.equal(read({ AWS_EC2_METADATA_DISABLED: 'true' }), null);
});
