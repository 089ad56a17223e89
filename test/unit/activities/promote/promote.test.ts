import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { crown, newestChampion } from '../../../../activities/promote/champions.ts';
import { promote } from '../../../../activities/promote/promote.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { S3Store } from '../../../../activities/store/s3-store.ts';
import type { Store } from '../../../../activities/store/store.ts';
import type { PromoteInput } from '../../../../contracts/report.ts';
import { runSpecSchema } from '../../../../contracts/run-spec.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { type PairedDifference, pairedDifference } from '../../../../contracts/statistics.ts';
import { withoutRclone as skip, startS3 } from '../../../fixtures/rclone.ts';

let dir: string;
let store: Store;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-promote-'));
  store = new FileStore(dir);
});
afterEach(() => rm(dir, { recursive: true }));

function difference(onlyTuned: number, onlyBase: number): PairedDifference {
  const result = pairedDifference({
    bothCorrect: 20,
    onlyTunedCorrect: onlyTuned,
    onlyBaseCorrect: onlyBase,
    neitherCorrect: 30,
  });
  assert.ok(result);
  return result;
}

function input(run: string, minGainPoints = 0): PromoteInput {
  const ref = { stage: 'train', key: sha256(run), digest: sha256(run) } as const;
  return {
    spec: runSpecSchema.parse({ promote: { enabled: true, name: 'nightly', minGainPoints } }),
    run: { workflowId: 'w', runId: run, startedAt: '2026-11-24T00:00:00Z', uiUrl: null },
    model: { source: 'hf://a/b', revision: 'r' },
    dataset: { source: 'hf://c/d', revision: 's' },
    train: ref,
    evalBase: { ...ref, stage: 'eval' },
    evalTuned: { ...ref, stage: 'eval' },
    weightsSha256: sha256(run),
  };
}

const current = async () =>
  JSON.parse(Buffer.from((await store.get('champions/nightly/current.json')) ?? '').toString());

test('promotes when the lower bound of the gain lies above the floor', async () => {
  const summary = await promote(store, input('one', 10), difference(30, 2));
  assert.deepEqual([summary.promoted, summary.champion], [true, 'nightly #1']);
  assert.match(summary.reason, /gain over base is 34\.1 points .* lower bound lies above 10\.$/);
  assert.equal((await current()).train.digest, sha256('one'));
});

test('does not promote a gain whose interval reaches the floor, and keeps the champion', async () => {
  await promote(store, input('one'), difference(30, 2));
  const summary = await promote(store, input('two', 25), difference(30, 2));
  assert.equal(summary.promoted, false);
  assert.equal(summary.champion, 'nightly #1');
  assert.match(summary.reason, /Not promoted: .* expected a lower bound above 25 points/);
  assert.equal((await current()).number, 1);
});

test('does not promote what was not measured', async () => {
  const summary = await promote(store, input('one'), null);
  assert.deepEqual([summary.promoted, summary.champion], [false, null]);
  assert.match(summary.reason, /no question could be graded/);
});

test('adds to the history and never overwrites it', async () => {
  await promote(store, input('one'), difference(30, 2));
  await promote(store, input('two'), difference(31, 2));
  const keys = [];
  for await (const { key } of store.list('champions/nightly/')) keys.push(key);
  assert.deepEqual(keys, [
    'champions/nightly/current.json',
    'champions/nightly/history/00000001.json',
    'champions/nightly/history/00000002.json',
  ]);
  assert.equal((await current()).number, 2);
});

test('adds the same model of the same run once, and mends the pointer that a crash left behind', async () => {
  await promote(store, input('one'), difference(30, 2));
  await store.delete(['champions/nightly/current.json']);
  const again = await promote(store, input('one'), difference(30, 2));
  assert.equal(again.champion, 'nightly #1');
  assert.equal((await current()).number, 1);
});

test('gives promotions at the same time a number each', async () => {
  const runs = ['a', 'b', 'c', 'd'];
  const summaries = await Promise.all(runs.map((run) => promote(store, input(run), difference(30, 2))));
  assert.deepEqual(
    summaries.map(({ champion }) => champion).sort(),
    [1, 2, 3, 4].map((n) => `nightly #${n}`),
  );
});

test('on a store without conditional writes promotes, and says that two at once may lose one', { skip }, async (t) => {
  const server = await startS3(join(dir, 'served'));
  t.after(() => server.stop());
  const plain = new S3Store({ bucket: server.bucket, prefix: 'runs', client: server.client });
  const summary = await promote(plain, input('one'), difference(30, 2));
  assert.equal(summary.champion, 'nightly #1');
  assert.match(summary.reason, /no conditional writes, so .* may have been lost; promote one at a time/);
  assert.equal((await newestChampion(plain, 'nightly'))?.number, 1);
});

test('refuses a history entry that is not a champion', async () => {
  await store.put('champions/nightly/history/00000001.json', Buffer.from('{"version":2}'));
  await assert.rejects(crown(store, { ...(await entry()), name: 'nightly' }), /version/);
});

async function entry() {
  await promote(store, { ...input('x'), spec: runSpecSchema.parse({ promote: { name: 'other' } }) }, difference(30, 2));
  const { number: _, ...rest } = (await newestChampion(store, 'other')) ?? assert.fail();
  return rest;
}
