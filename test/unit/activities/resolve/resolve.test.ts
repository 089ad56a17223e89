import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { SourceDeps } from '../../../../activities/download/source-tree.ts';
import { splitSchema } from '../../../../activities/parquet/split-row.ts';
import { writeParquet } from '../../../../activities/parquet/write.ts';
import { resolveRun } from '../../../../activities/resolve/resolve.ts';
import type { RunSpecInput } from '../../../../contracts/run-spec.ts';
import { type HubServer, startHubServer } from '../../../fixtures/hub-server.ts';
import { tinyConfig, tinyModel, tinySafetensors } from '../../../fixtures/tiny-model.ts';

type Files = Record<string, string | Buffer>;
const row = (changes: Record<string, unknown> = {}): string =>
  `${JSON.stringify({ question: '1 + 1', deepseek_attempt: '2', solution: '2', ...changes })}\n`;
const ROWS: Files = { 'data/train-00000-of-00001.jsonl': row() + row() };

let hub: HubServer;
let root: string;
let deps: SourceDeps;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'resolve-'));
  hub = await startHubServer({
    token: 'secret',
    repos: [
      { type: 'model', name: 'owner/tiny', files: tinyModel() },
      { type: 'dataset', name: 'owner/rows', files: ROWS },
      { type: 'dataset', name: 'owner/gated', files: ROWS, gated: true },
    ],
  });
  deps = { cacheDir: join(root, 'cache'), hub: { endpoint: hub.url, token: null } };
});
after(async () => {
  await hub.close();
  await rm(root, { recursive: true });
});

async function folder(files: Files): Promise<string> {
  const dir = await mkdtemp(join(root, 'source-'));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}
const without = (files: Files, ...names: string[]): Files =>
  Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)));
/** The columns of the smallest Parquet that our own writer makes: rows as convert leaves them. */
const PARQUET_MAPPING = { preset: 'generic', question: 'id', reference: 'reference' } as const;

async function parquetFile(): Promise<Buffer> {
  const file = join(await mkdtemp(join(root, 'parquet-')), 'rows.parquet');
  const rows = [{ id: '0', prompt: [{ role: 'user', content: '1 + 1' }], response: '2', reference: '2', source: null }];
  await writeParquet(file, splitSchema, rows);
  return readFile(file);
}

const hubSpec: RunSpecInput = { model: { source: 'hf://owner/tiny' }, dataset: { source: 'hf://owner/rows' } };

/** Refused within 5 s, with nothing written to the cache. */
async function refused(spec: unknown, type: string, ...messages: RegExp[]): Promise<void> {
  const started = performance.now();
  await assert.rejects(resolveRun(spec, deps), (error: Error & { type?: string }) => {
    assert.equal(error.type, type, error.stack);
    for (const message of messages) assert.match(error.message, message);
    return true;
  });
  assert.ok(performance.now() - started < 5000, 'within 5 s');
  assert.ok(!existsSync(deps.cacheDir), 'nothing was written');
}
const refusedModel = async (files: Files, ...messages: RegExp[]): Promise<void> =>
  refused({ ...hubSpec, model: { source: await folder(files) } }, 'ModelRejected', ...messages);
const refusedDataset = async (files: Files, ...messages: RegExp[]): Promise<void> =>
  refused({ ...hubSpec, dataset: { source: await folder(files) } }, 'DatasetRejected', ...messages);

test('pins Hub repositories to their commits and fills the spec', async () => {
  const { spec, dataset, model } = await resolveRun(hubSpec, deps);
  assert.deepEqual(dataset, { source: 'hf://owner/rows', revision: hub.commitOf('dataset', 'owner/rows') });
  assert.deepEqual(model, { source: 'hf://owner/tiny', revision: hub.commitOf('model', 'owner/tiny') });
  assert.equal(spec.train.epochs, 3);
});

test('a commit in the source is kept after the branch moves', async () => {
  hub.push({ type: 'dataset', name: 'owner/moving', files: ROWS });
  const first = hub.commitOf('dataset', 'owner/moving');
  hub.push({ type: 'dataset', name: 'owner/moving', files: { 'train.jsonl': '{}\n' } });
  const { dataset } = await resolveRun({ ...hubSpec, dataset: { source: `hf://owner/moving@${first}` } }, deps);
  assert.equal(dataset.revision, first);
});

test('pins folders to the digest of their content, by path or URL alike', async () => {
  const rows = await folder(ROWS);
  const model = await folder(tinyModel());
  const byPath = await resolveRun({ dataset: { source: rows }, model: { source: model } }, deps);
  const byUrl = await resolveRun(
    { dataset: { source: pathToFileURL(rows).href }, model: { source: pathToFileURL(model).href } },
    deps,
  );
  assert.deepEqual(byUrl.dataset, byPath.dataset);
  assert.deepEqual(byUrl.model, byPath.model);
  assert.match(byPath.model.revision, /^[0-9a-f]{64}$/);
});

test('tells of every problem of a spec at once', async () => {
  await refused(
    { train: { epoch: 3, seed: 'x' } },
    'InvalidSpec',
    /train\.epoch is not a field.*did you mean train\.epochs\?/,
    /train\.seed is "x"; expected/,
  );
  await refused(
    { dataset: { source: 'rows.jsonl' }, model: { source: 'hf://tiny' } },
    'InvalidSpec',
    /dataset\.source "rows\.jsonl" is a relative path/,
    /model\.source "hf:\/\/tiny" is not the name of a repository/,
  );
});

test('tells of a bad data set and a bad model in one failure', async () => {
  await refused(
    { dataset: { source: '/no/rows' }, model: { source: '/no/model' } },
    'DatasetRejected',
    /dataset path \/no\/rows does not exist on the CPU worker's host .*; expected a file or folder there/,
    /model path \/no\/model does not exist.*expected a folder there; correct model\.source/,
  );
});

test('refuses a data set that is empty, of another kind, or cut short', async () => {
  await refusedDataset({}, /holds no data \(no file at all\); expected \*\.jsonl/);
  await refusedDataset({ 'rows.csv': 'a,b\n' }, /holds no data \(rows\.csv\)/);
  await refusedDataset({ 'train.jsonl': '' }, /file train\.jsonl is empty \(0 bytes\)/);
  const whole = await parquetFile();
  await resolveRun(
    { ...hubSpec, dataset: { source: await folder({ 'train.parquet': whole }), mapping: PARQUET_MAPPING } },
    deps,
  );
  await refusedDataset({ 'train.parquet': whole.subarray(0, -9) }, /train\.parquet is truncated \(\d+ bytes/);
  await refusedDataset({ 'train.parquet': '{"a": 1}\n' }, /train\.parquet does not begin with PAR1/);
  await refusedDataset({ 'train.jsonl.gz': '{"a": 1}\n' }, /train\.jsonl\.gz is not gzip/);
});

test('refuses local rows that convert would refuse, by file and line', async () => {
  await refusedDataset(
    { 'train.jsonl': '{"question": "a", "attempt": "b", "solution": "c"}\n' },
    /no column deepseek_attempt.*use dataset\.mapping\.preset s1k, which fits/,
  );
  await refusedDataset(
    { 'train.jsonl': Buffer.concat([Buffer.from(row()), Buffer.from([0x22, 0xff, 0x0a])]) },
    /train\.jsonl, line 2 holds bytes that are not UTF-8/,
  );
  await refusedDataset({ 'train.jsonl': `${row()}{"question":\n` }, /train\.jsonl, line 2 is text that is not JSON/);
  await refusedDataset(
    { 'train.jsonl': row() + row({ question: 'What is <|mask|>?' }) },
    /line 2, column question holds the text <\|mask\|>, which the tokenizer reads as the mask token/,
  );
  await refusedDataset(
    { 'train.jsonl': row({ deepseek_attempt: '' }) },
    /Column deepseek_attempt, mapped to the response, is empty in all 1 rows/,
  );
});

test('refuses a model folder without configuration, weights or tokenizer', async () => {
  const model = tinyModel();
  const shard = 'model-00002-of-00002.safetensors';
  await refusedModel(without(model, 'config.json'), /has no config\.json/);
  await refusedModel(
    without(model, shard),
    /lacks 1 of 2 shards: model-00002-of-00002\.safetensors; expected every file/,
  );
  await refusedModel(
    without(model, 'merges.txt'),
    /has no tokenizer \(only vocab\.json\); expected tokenizer\.json, or/,
  );
  const bare = without(model, shard, 'model-00001-of-00002.safetensors', 'model.safetensors.index.json');
  await refusedModel(bare, /has no weights/);
  await refusedModel(
    { ...bare, 'pytorch_model.bin': 'x' },
    /only pickled weights \(pytorch_model\.bin\).*save_pretrained/,
  );
  await refusedModel(
    { ...bare, 'model.safetensors': tinySafetensors('a').subarray(0, 60) },
    /its header tells of|no safetensors header/,
  );
  await refusedModel({ ...bare, 'model.safetensors': Buffer.alloc(4) }, /has no safetensors header in its 4 bytes/);
  const file = join(await folder(model), 'config.json');
  await refused(
    { ...hubSpec, model: { source: file } },
    'ModelRejected',
    /is a file; expected a Hugging Face model folder/,
  );
});

test('refuses a configuration by field, value and what was expected', async () => {
  const model = (changes: Record<string, unknown>): Files => ({ ...tinyModel(), 'config.json': tinyConfig(changes) });
  await refusedModel(
    model({ model_type: 'qwen2' }),
    /config\.json field model_type is "qwen2"; expected "Dream"; use a Dream model/,
  );
  await refusedModel(
    model({ hidden_size: 0, num_hidden_layers: undefined }),
    /field hidden_size is 0; expected a whole number of at least 1/,
    /field num_hidden_layers is missing/,
  );
  await refusedModel(
    model({ num_attention_heads: 3 }),
    /hidden_size is 8; expected a multiple of num_attention_heads 3/,
  );
  await refusedModel(model({ rope_scaling: { type: 'yarn' } }), /rope_scaling is .*; expected null, the only value/);
  await refusedModel(
    model({ mask_token_id: 262 }),
    /mask_token_id 262 of config\.json is not among the tokenizer's 260 tokens/,
  );
  await refusedModel(model({ vocab_size: 258 }), /mask_token_id is 259; expected an id below vocab_size 258/);
  await refusedModel(model({ hidden_size: 6 }), /head_dim is 3; expected an even number/);
  for (const [field, found, expected] of [
    ['hidden_act', 'gelu', '"silu", the only value'],
    ['use_sliding_window', true, 'false, the only value'],
    ['attention_dropout', 0.1, '0, the only value'],
    ['head_dim', 7, 'an even number'],
    ['num_key_value_heads', 3, 'a divisor of num_attention_heads 2'],
    ['rms_norm_eps', 0, 'a number above 0'],
    ['rope_theta', '1e6', 'a number above 0'],
  ] as const) {
    await refusedModel(
      model({ [field]: found }),
      new RegExp(`config\\.json field ${field} is ${JSON.stringify(found)}; expected ${expected}`),
    );
  }
  await refusedModel({ ...tinyModel(), 'config.json': '{' }, /config\.json is not JSON/);
});

test("refuses rows beyond the model's context before anything is stored", async () => {
  const source = await folder({ ...tinyModel(), 'config.json': tinyConfig({ max_position_embeddings: 1024 }) });
  await refused(
    { ...hubSpec, model: { source } },
    'InvalidSpec',
    /filter\.maxTokens 2048 is beyond the context of model file:.*; expected at most 1024, the max_position_embeddings of/,
  );
  await resolveRun({ ...hubSpec, model: { source }, filter: { maxTokens: 1024 } }, deps);
});

test('a model of the Hub is checked without its weights being read', async () => {
  hub.push({
    type: 'model',
    name: 'owner/qwen',
    files: { ...tinyModel(), 'config.json': tinyConfig({ model_type: 'qwen2' }) },
  });
  hub.push({ type: 'model', name: 'owner/shardless', files: without(tinyModel(), 'model-00001-of-00002.safetensors') });
  hub.requests.length = 0;
  await refused({ ...hubSpec, model: { source: 'hf://owner/qwen' } }, 'ModelRejected', /expected "Dream"/);
  await refused({ ...hubSpec, model: { source: 'hf://owner/shardless' } }, 'ModelRejected', /lacks 1 of 2 shards/);
  await resolveRun(hubSpec, deps);
  const read = hub.requests.filter((request) => request.url.includes('.safetensors') && request.method === 'GET');
  assert.deepEqual(
    read.map((request) => request.url).filter((url) => !url.endsWith('index.json')),
    [],
  );
});

test('a gated data set is refused before anything is downloaded', async () => {
  await refused(
    { ...hubSpec, dataset: { source: 'hf://owner/gated' } },
    'DatasetRejected',
    /is gated and HF_TOKEN is not set/,
  );
});
