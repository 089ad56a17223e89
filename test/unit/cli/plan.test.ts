import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { Artifacts } from '../../../activities/store/artifacts.ts';
import { openStore } from '../../../activities/store/open-store.ts';
import type { RunPlan } from '../../../cli/plan/run-plan.ts';
import type { PlanOptions } from '../../../cli/plan.ts';
import { plan } from '../../../cli/plan.ts';
import { type RunSpecInput, runSpecSchema } from '../../../contracts/run-spec.ts';
import { convertKey, datasetKey, evalKey, filterKey, modelKey, trainKey } from '../../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage } from '../../../contracts/stages.ts';
import { startHubServer } from '../../fixtures/hub-server.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';
import { tinyModel } from '../../fixtures/tiny-model.ts';

const ROWS = 40;
/** A token a byte. */
const dataset = Array.from({ length: ROWS }, (_, index) =>
  JSON.stringify({
    question: 'q',
    solution: '4',
    deepseek_attempt: 'y'.repeat(index < 4 ? 300 : 10),
    deepseek_thinking_trajectory: 'z'.repeat(300),
  }),
).join('\n');

const spec: RunSpecInput = {
  dataset: { mapping: { systemPrompt: null } },
  filter: { maxTokens: 120, thresholds: [120] },
  train: { epochs: 2, globalBatchSize: 8 },
  eval: { sampler: { maxNewTokens: 4, steps: 4 } },
};

interface Place {
  /** With `spec.json`, `base/` and `data.jsonl`. */
  folder: string;
  store: string;
  cacheDir: string;
}

async function place(t: TestContext, more: RunSpecInput = {}): Promise<Place> {
  const folder = await scratchFolder(t);
  const base = await scratchFolder(t);
  for (const [name, content] of Object.entries(tinyModel())) await writeFile(join(base, name), content);
  await writeFile(join(folder, 'data.jsonl'), dataset);
  const whole = {
    ...spec,
    ...more,
    model: { source: base, ...more.model },
    dataset: { source: 'data.jsonl', ...spec.dataset, ...more.dataset },
  };
  await writeFile(join(folder, 'spec.json'), JSON.stringify(whole));
  return { folder, store: join(folder, 'store'), cacheDir: join(folder, 'cache') };
}

async function run(t: TestContext, { folder, store, cacheDir }: Place, options: Partial<PlanOptions> = {}) {
  Object.assign(process.env, { REVERIE_STORE: store, REVERIE_CACHE_DIR: cacheDir });
  t.after(() => {
    for (const name of ['REVERIE_STORE', 'REVERIE_CACHE_DIR', 'HF_ENDPOINT']) delete process.env[name];
  });
  const out = new PassThrough();
  const said = text(out);
  const file = join(folder, 'spec.json');
  const signal = new AbortController().signal;
  try {
    const code = await plan({ file, json: true, gpus: 1, gpuMemoryGib: 80, signal, out, ...options });
    out.end();
    return { code, said: await said };
  } finally {
    out.end();
  }
}

async function planned(t: TestContext, at: Place, options: Partial<PlanOptions> = {}): Promise<RunPlan> {
  return JSON.parse((await run(t, at, options)).said) as RunPlan;
}

test('tells rows, rows kept by each way of mapping, and steps', async (t) => {
  const made = await planned(t, await place(t));
  assert.deepEqual(made.gaps, []);
  assert.equal(made.data?.rows, ROWS);
  assert.deepEqual([made.data?.train, made.data?.validation], [36, 4]);
  const kept = made.mappings?.map((way) => [way.response, way.trace, way.train.kept]);
  const chosen = kept?.[0]?.[2] as number;
  // Of four over-long rows, some may be held out.
  assert.ok(chosen >= 32 && chosen < 36, `${chosen} rows kept`);
  assert.deepEqual(kept, [
    ['deepseek_attempt', null, chosen],
    ['deepseek_attempt', 'deepseek_thinking_trajectory', 0],
    ['solution', null, 36],
  ]);
  const stepsPerEpoch = Math.ceil(chosen / 8);
  assert.deepEqual(made.training, { isExact: true, rows: chosen, stepsPerEpoch, steps: 2 * stepsPerEpoch });
});

test('ends at train.maxSteps', async (t) => {
  const made = await planned(t, await place(t, { train: { ...spec.train, maxSteps: 3 } }));
  assert.equal(made.training?.steps, 3);
});

test('writes nothing but caches, and leaves no scratch', async (t) => {
  const at = await place(t);
  await run(t, at);
  assert.deepEqual((await readdir(at.folder)).sort(), ['cache', 'data.jsonl', 'spec.json']);
  assert.deepEqual(await readdir(join(at.cacheDir, 'scratch')), []);
});

test('walks the chain of keys as far as artifacts are found', async (t) => {
  const at = await place(t);
  const before = await planned(t, at);
  assert.ok(before.stages?.every(({ cached }) => !cached));
  const { sources } = before;
  assert.ok(sources);
  const whole = runSpecSchema.parse(before.spec);
  const artifacts = new Artifacts(openStore(at.store), at.cacheDir);
  const commit = async (stage: ArtifactStage, key: string, summary: object = {}): Promise<ArtifactRef> => {
    const dir = await scratchFolder(t);
    await writeFile(join(dir, 'content'), stage);
    return artifacts.ref(await artifacts.commit(stage, key, dir, summary));
  };
  const cached = async (): Promise<string[]> =>
    ((await planned(t, at)).stages ?? []).filter((stage) => stage.cached).map(({ name }) => name);

  const data = await commit('dataset', datasetKey(sources.dataset, 'train'));
  const base = await commit('model', modelKey(sources.model));
  const converted = await commit('convert', convertKey(whole, data));
  assert.deepEqual(await cached(), ['download dataset', 'download model', 'convert']);
  const counts = { train: { kept: 17, rejected: {} }, validation: { kept: 4, rejected: {} } };
  const filtered = await commit('filter', filterKey(whole, converted, base), counts);
  const tuned = await commit('train', trainKey(whole, filtered, base));
  await commit('eval', evalKey(whole, filtered, tuned));
  assert.deepEqual(await cached(), ['download dataset', 'download model', 'convert', 'filter', 'train', 'eval tuned']);
  assert.equal((await planned(t, at)).training?.rows, 17, 'a filter that is done knows its rows');
});

test('says whether it fits the GPUs named, and what to change', async (t) => {
  const at = await place(t);
  const roomy = (await planned(t, at)).memory?.asked;
  assert.deepEqual([roomy?.fits, roomy?.request.recipe], [true, 'full-fp32'], 'auto takes the most exact');
  const { memory } = await planned(t, at, { gpus: 4, gpuMemoryGib: 1 });
  assert.equal(memory?.asked.fits, false);
  assert.equal(memory?.asked.request.microBatchSize, 2, 'of a global batch of 8, each of 4 GPUs has 2 rows');
  assert.match(memory?.advice ?? '', /use GPUs of at least \d+ GiB/);
  const { said } = await run(t, at, { json: false, gpuMemoryGib: 1 });
  assert.match(said, /✗ does not fit 1 × 1 GiB\n {2}→ /);
});

test('reads data and tokenizer from the Hub, and no weights', async (t) => {
  const hub = await startHubServer({
    repos: [
      { type: 'model', name: 'o/tiny', files: tinyModel() },
      { type: 'dataset', name: 'o/rows', files: { 'train.jsonl': dataset } },
    ],
  });
  t.after(() => hub.close());
  process.env.HF_ENDPOINT = hub.url;
  const at = await place(t, { model: { source: 'hf://o/tiny' }, dataset: { ...spec.dataset, source: 'hf://o/rows' } });
  const made = await planned(t, at);
  assert.equal(made.sources?.model.revision, hub.commitOf('model', 'o/tiny'));
  assert.equal(made.data?.rows, ROWS);
  const weights = hub.requests.filter(({ method, url }) => method === 'GET' && url.endsWith('.safetensors'));
  assert.deepEqual(weights, []);
});

test('tells what it can where the Hub is not reached, and exits with 2', async (t) => {
  // Nothing listens there.
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9';
  const at = await place(t, { model: { source: 'hf://Dream-org/Dream-v0-Base-7B' } });
  const { code, said } = await run(t, at);
  const made = JSON.parse(said) as RunPlan;
  assert.equal(code, 2);
  assert.match(made.gaps.join('\n'), /The Hub at .* did not serve model hf:\/\/Dream-org\/Dream-v0-Base-7B@main/);
  assert.equal(made.data?.rows, ROWS);
  assert.equal(made.mappings, null);
  assert.deepEqual(made.training, { isExact: false, rows: 36, stepsPerEpoch: 5, steps: 10 });
  assert.equal(made.memory?.parameters, 7_615_616_512);
  assert.equal(made.memory?.shapeFrom, 'Dream 7B as published');
  const answers = made.memory?.others.map(
    ({ gpus, gpu, nearest }) => `${gpus} ${gpu} ${nearest?.recipe}${nearest?.isSharded ? ' in shards' : ''}`,
  );
  assert.deepEqual(answers, [
    '1 RTX 4090 lora',
    '2 RTX 4090 lora',
    '1 A100 lora',
    '2 A100 full-bf16-sr in shards',
    '1 H100 full-bf16-sr',
    '8 H100 full-bf16-sr',
  ]);
});

test('refuses bad input as the run would', async (t) => {
  const at = await place(t);
  await writeFile(join(at.folder, 'spec.json'), '{"train": {"epoch": 3}}');
  await assert.rejects(run(t, at), { type: 'InvalidSpec', message: /did you mean train\.epochs/ });
  const other = await place(t, { dataset: { ...spec.dataset, mapping: { response: 'answer' } } });
  await assert.rejects(run(t, other), { type: 'DatasetRejected', message: /no column answer/ });
  await assert.rejects(run(t, await place(t), { gpuMemoryGib: null, gpus: 2 }), {
    type: 'InvalidSpec',
    message: /--gpus 2 comes without a memory size/,
  });
});

test('prints a plan that a person can read', async (t) => {
  const { code, said } = await run(t, await place(t), { json: false });
  assert.equal(code, 0);
  assert.match(said, /40 rows: 36 train \+ 4 validation, seed 42/);
  assert.match(said, /▸ deepseek_attempt +3\d of 36 +4 of 4/);
  assert.match(said, /rejected: \d over-long in train/);
  assert.match(said, /steps an epoch × 2 epochs = \d+ steps/);
  assert.match(said, /✓ fits 1 × 80 GiB/);
  assert.match(said, /· train +runs/);
  assert.equal(said.includes('\u001b'), false, 'no colour in a pipe');
});
