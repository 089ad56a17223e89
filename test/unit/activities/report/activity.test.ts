import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import type { ActivityDeps } from '../../../../activities/deps.ts';
import { createPromoteActivities } from '../../../../activities/promote/activity.ts';
import { createReportActivities } from '../../../../activities/report/activity.ts';
import { Artifacts } from '../../../../activities/store/artifacts.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import type { ReportInput } from '../../../../contracts/report.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage } from '../../../../contracts/stages.ts';
import { reportInput } from './fixture.ts';

let root: string;
let deps: ActivityDeps;
let input: ReportInput;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'reverie-report-activity-'));
  const store = new FileStore(join(root, 'store'));
  const cacheDir = join(root, 'cache');
  deps = {
    store,
    cacheDir,
    artifacts: new Artifacts(store, cacheDir),
    python: 'unused',
    hub: { endpoint: 'unused', token: null },
    log: pino({ level: 'silent' }),
  };
  const made = reportInput();
  const { files } = made;
  const lines = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const evaluation = ({ predictions, qualitative, revealOrder }: typeof files.base) => ({
    'predictions.jsonl': lines(predictions),
    'qualitative.json': JSON.stringify(qualitative),
    'reveal_order.json': JSON.stringify(revealOrder),
  });
  const artifacts = {
    ...made.input.artifacts,
    filtered: await commit('filter', { 'lengths.json': JSON.stringify({ maxTokens: 2048, bins: files.lengths }) }),
    train: await commit('train', { 'history.jsonl': lines(files.history), 'model/model.safetensors': 'weights' }),
    evalBase: await commit('eval', evaluation(files.base)),
    evalTuned: await commit('eval', evaluation(files.tuned)),
  };
  input = { ...made.input, artifacts };
});
after(() => rm(root, { recursive: true }));

async function commit(stage: ArtifactStage, files: Record<string, string>): Promise<ArtifactRef> {
  const key = sha256(JSON.stringify(files));
  const dir = join(root, 'made', key);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return deps.artifacts.ref(await deps.artifacts.commit(stage, key, dir, {}));
}

const run = <T>(work: () => Promise<T>): Promise<T> =>
  new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(work);

test('renders a report from artifacts without touching the weights, and finds it when tried again', async () => {
  await deps.store.delete([`artifacts/train/${input.artifacts.train.key}/model/model.safetensors`]);
  const activities = createReportActivities(deps);
  const first = await run(() => activities.report(input));
  assert.equal(first.cached, false);
  const html = Buffer.from((await deps.store.get(first.summary.html)) ?? '').toString();
  assert.ok(html.replaceAll('&nbsp;', ' ').includes(first.summary.headline));
  assert.match(Buffer.from((await deps.store.get(first.summary.markdown)) ?? '').toString(), /^# Dream/);
  assert.equal(JSON.parse(Buffer.from((await deps.store.get(first.summary.json)) ?? '').toString()).version, 1);
  assert.deepEqual(await run(() => activities.report(input)), { ...first, cached: true, seconds: 0 });
});

test('fails as ArtifactMissing when an evaluation is gone', async () => {
  const gone = { ...input.artifacts.evalBase, key: sha256('gone') };
  const activities = createReportActivities(deps);
  await assert.rejects(
    run(() => activities.report({ ...input, artifacts: { ...input.artifacts, evalBase: gone } })),
    { name: 'ApplicationFailure', type: 'ArtifactMissing' },
  );
});

test('promotes from the stored predictions of both models', async () => {
  const activities = createPromoteActivities(deps);
  const { spec, run: info, sources, artifacts, summaries } = input;
  const summary = await run(() =>
    activities.promote({
      spec,
      run: info,
      ...sources,
      train: artifacts.train,
      evalBase: artifacts.evalBase,
      evalTuned: artifacts.evalTuned,
      weightsSha256: summaries.train.weightsSha256,
    }),
  );
  assert.deepEqual([summary.promoted, summary.champion], [true, 'default #1']);
});
