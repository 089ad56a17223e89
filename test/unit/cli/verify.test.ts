/** A whole lineage made by hand, so that each thing that can be altered in it is: nothing is trained here. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, test } from 'node:test';
import { reportKey } from '../../../activities/report/write-report.ts';
import { Artifacts } from '../../../activities/store/artifacts.ts';
import { hashBytes } from '../../../activities/store/hashing.ts';
import { openStore } from '../../../activities/store/open-store.ts';
import { hashTensors } from '../../../cli/verify/tensors.ts';
import { verify } from '../../../cli/verify.ts';
import { convertKey, datasetKey, evalKey, filterKey, modelKey, trainKey } from '../../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage } from '../../../contracts/stages.ts';
import { tinySafetensors } from '../../fixtures/tiny-model.ts';
import { reportFacts } from '../activities/report/fixture.ts';

const root = await mkdtemp(join(tmpdir(), 'reverie-verify-'));
const [sound, store] = [join(root, 'sound'), join(root, 'store')];
const environment = { ...process.env };
let reportFolder = '';
let refs: Record<string, ArtifactRef>;
const CHECKPOINT = 'attempt-1/step-3';
const history = [1, 2, 3, 4].map((step) => ({
  ...{ type: 'step', step, epoch: 0, loss: 1 / step, learningRate: 0.1, gradNorm: 1, tokens: 9, maskedTokens: 5 },
  leftOut: false,
}));
const lines = (records: object[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');

before(async () => {
  process.env.REVERIE_CACHE_DIR = join(root, 'cache');
  await makeRun();
});
after(async () => {
  process.env = environment;
  await rm(root, { recursive: true });
});
beforeEach(async () => {
  await rm(store, { recursive: true, force: true });
  await cp(sound, store, { recursive: true });
});

async function makeRun(): Promise<void> {
  const artifacts = new Artifacts(openStore(sound), join(root, 'cache'));
  const commit = async (stage: ArtifactStage, key: string, files: Record<string, string | Buffer>, summary: object) => {
    const dir = await mkdtemp(join(root, 'made-'));
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(dir, path)), { recursive: true });
      await writeFile(join(dir, path), content);
    }
    return artifacts.ref(await artifacts.commit(stage, key, dir, summary));
  };
  const facts = reportFacts();
  const { spec, sources, summaries } = facts;
  const weights = tinySafetensors('model.norm.weight', 64);
  await writeFile(join(root, 'model.safetensors'), weights);
  const weightsSha256 = await hashTensors(root, 'model');
  Object.assign(summaries.train, { weightsSha256, steps: 4 });

  const dataset = await commit('dataset', datasetKey(sources.dataset, spec.dataset.split), { 'rows.jsonl': '{}' }, {});
  const model = await commit('model', modelKey(sources.model), { 'model.safetensors': weights }, {});
  const converted = await commit('convert', convertKey(spec, dataset), { 'train.parquet': 'rows' }, summaries.convert);
  const filtered = await commit(
    'filter',
    filterKey(spec, converted, model),
    { 'train.parquet': 'r' },
    summaries.filter,
  );
  const training = { 'model/model.safetensors': weights, 'history.jsonl': lines(history) };
  const key = trainKey(spec, filtered, model);
  const train = await commit('train', key, training, summaries.train);
  const evalBase = await commit(
    'eval',
    evalKey(spec, filtered, model),
    { 'predictions.jsonl': 'b' },
    summaries.evalBase,
  );
  const evalTuned = await commit(
    'eval',
    evalKey(spec, filtered, train),
    { 'predictions.jsonl': 't' },
    summaries.evalTuned,
  );
  refs = { dataset, model, converted, filtered, train, evalBase, evalTuned };
  const report = { ...facts, artifacts: { dataset, model, converted, filtered, train, evalBase, evalTuned } };
  const ownKey = reportKey(inputAlone(report));
  const body = JSON.stringify({ headline: 'made up', ...report });
  await commit('report', ownKey, { 'report.json': body, 'report.html': 'x' }, {});
  reportFolder = join('artifacts', 'report', ownKey);

  const files: Record<string, Buffer> = {
    'history.jsonl': Buffer.from(lines(history.slice(0, 3))),
    'optimizer-00000-00000.safetensors': tinySafetensors('exp_avg.model.norm.weight', 8),
    'weights-00000-00000.safetensors': tinySafetensors('model.norm.weight', 8),
  };
  const listed = [];
  for (const [path, content] of Object.entries(files)) {
    await openStore(sound).put(`checkpoints/${key}/${CHECKPOINT}/${path}`, content);
    listed.push({ path, size: content.length, sha256: await hashBytes(content) });
  }
  const manifest = { version: 1, identity: key, step: 3, validationLoss: null, files: listed };
  await openStore(sound).put(`checkpoints/${key}/${CHECKPOINT}/manifest.json`, Buffer.from(JSON.stringify(manifest)));
}

/** As the workflow hands it to the report's activity. */
function inputAlone({
  spec,
  run,
  sources,
  artifacts,
  summaries,
  stages,
  incidents,
  ...rest
}: ReturnType<typeof reportFacts>) {
  const { attempts, gpuHours, ledger, promote } = rest;
  return { spec, run, sources, artifacts, summaries, stages, incidents, attempts, gpuHours, ledger, promote };
}

async function verified(run = join(store, reportFolder, 'report.html')): Promise<{ code: number; told: string }> {
  const out = new PassThrough();
  const told = text(out);
  const signal = new AbortController().signal;
  try {
    const code = await verify({ run, steps: 8, seed: 1, onlyHashes: true, json: false, signal, out });
    out.end();
    return { code, told: await told };
  } finally {
    out.end();
  }
}

const fileOf = (ref: ArtifactRef | undefined, path: string): string =>
  join(store, 'artifacts', ref?.stage ?? '', ref?.key ?? '', path);

async function flipBit(file: string): Promise<void> {
  const bytes = await readFile(file);
  const at = bytes.length - 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

async function replaceText(file: string, from: RegExp, to: string): Promise<void> {
  const content = await readFile(file, 'utf8');
  assert.match(content, from);
  await writeFile(file, content.replace(from, to));
}

test('a sound run is told link by link, and what was not proven', async () => {
  const { code, told } = await verified();
  assert.equal(code, 0, told);
  assert.equal(told.match(/^✓ /gm)?.length, 9, told);
  assert.match(
    told,
    /^✓ train +2 files, .*; key [0-9a-f]{8}… follows from spec, filter and model; weights .* as stated$/m,
  );
  assert.match(told, /^Proven: every file from data to report/m);
  assert.match(told, /^Not proven: any step of the training \(--steps 4 replays all\);/m);
});

test('is found by its key in the store of the environment, and by its address', async () => {
  process.env.REVERIE_STORE = store;
  assert.equal((await verified(reportFolder.split('/').at(-1))).code, 0);
  assert.equal((await verified(`file://${store}/${reportFolder}/report.json`)).code, 0);
  await assert.rejects(verified('0'.repeat(64)), {
    type: 'InvalidSpec',
    message: /is not in the store .*; set REVERIE_STORE/,
  });
});

const bitFlips: [string, string, () => string][] = [
  ['data file', 'dataset', () => fileOf(refs.dataset, 'rows.jsonl')],
  ['filtered file', 'filter', () => fileOf(refs.filtered, 'train.parquet')],
  ['model', 'train', () => fileOf(refs.train, 'model/model.safetensors')],
  ['history', 'train', () => fileOf(refs.train, 'history.jsonl')],
  ['report', 'report', () => join(store, reportFolder, 'report.html')],
  [
    'checkpoint',
    'checkpoint 3',
    () => join(store, 'checkpoints', refs.train?.key ?? '', CHECKPOINT, 'weights-00000-00000.safetensors'),
  ],
];
for (const [what, name, file] of bitFlips) {
  test(`one bit flipped in a ${what} is found and named`, async () => {
    await flipBit(file());
    const { code, told } = await verified();
    assert.equal(code, 1);
    const bad = told.match(/^✗ .*$/gm)?.[0] ?? '';
    assert.ok(bad.startsWith(`✗ ${name}`) && bad.includes(`${file().split('/').at(-1)} has SHA-256`), told);
    assert.match(told, /^NOT as stated: see the lines with ✗\. Nothing in the store was changed\.$/m);
  });
}

test("an altered summary, a forged manifest, an altered report and another run's checkpoint are found", async () => {
  const manifest = fileOf(refs.train, 'manifest.json');
  const before = await readFile(manifest);
  await replaceText(manifest, /"finalLoss":[\d.]+/, '"finalLoss":0.1');
  assert.match((await verified()).told, /^✗ train .*summary is not what the run saw: finalLoss 0\.1, not 0\.4312$/m);

  await writeFile(manifest, before);
  await replaceText(fileOf(refs.train, 'history.jsonl'), /"loss":0\.5/, '"loss":0.4');
  const forged = await hashBytes(await readFile(fileOf(refs.train, 'history.jsonl')));
  await replaceText(manifest, /("path":"history\.jsonl","sha256":")[0-9a-f]+/, `$1${forged}`);
  assert.match((await verified()).told, /^✗ train .*its manifest's digest does not match its files$/m);

  await writeFile(manifest, before);
  const report = join(store, reportFolder, 'report.json');
  await replaceText(report, /"learningRate":0\.000002/, '"learningRate":0.5');
  const { told } = await verified();
  assert.match(told, /^✗ train .*its key does not follow from spec, filter and model/m);
  assert.match(told, /^✗ report .*its key does not follow from the run's record/m);

  const checkpoint = join(store, 'checkpoints', refs.train?.key ?? '', CHECKPOINT, 'manifest.json');
  await replaceText(checkpoint, /"identity":"[0-9a-f]+"/, `"identity":"${'0'.repeat(64)}"`);
  assert.match((await verified()).told, /^✗ checkpoint 3 .*identity is 0{64}/m);
});

test('a checkpoint of another course is told of, and is no failure', async () => {
  const folder = join(store, 'checkpoints', refs.train?.key ?? '', CHECKPOINT);
  const content = lines(history.slice(0, 3).map((record) => ({ ...record, loss: record.loss + 1 })));
  await writeFile(join(folder, 'history.jsonl'), content);
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
  manifest.files[0] = { path: 'history.jsonl', size: content.length, sha256: await hashBytes(Buffer.from(content)) };
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  const { code, told } = await verified();
  assert.equal(code, 0);
  assert.match(told, /^! checkpoint 3 .*its history another one \(step 1: loss is 2, was 1\)/m);
});
