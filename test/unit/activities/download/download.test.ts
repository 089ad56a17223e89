import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Tokenizer } from '@huggingface/tokenizers';
import { selectDatasetFiles } from '../../../../activities/download/dataset-files.ts';
import { saveDataset, saveModel } from '../../../../activities/download/download.ts';
import { selectModelFiles } from '../../../../activities/download/model-files.ts';
import { parseSource, type SourceKind } from '../../../../activities/download/source.ts';
import { openSource, type SourceDeps } from '../../../../activities/download/source-tree.ts';
import type { PinnedSource } from '../../../../contracts/stages.ts';
import { type Fault, type HubServer, startHubServer } from '../../../fixtures/hub-server.ts';
import { specialTokens, tinyModel } from '../../../fixtures/tiny-model.ts';

let hub: HubServer;
let root: string;
let deps: SourceDeps;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'download-'));
  hub = await startHubServer({ repos: [{ type: 'model', name: 'owner/tiny', files: tinyModel() }] });
  deps = { cacheDir: join(root, 'cache'), hub: { endpoint: hub.url, token: null } };
});
after(async () => {
  await hub.close();
  await rm(root, { recursive: true });
});

async function folder(files: Record<string, string | Buffer>): Promise<string> {
  const dir = await mkdtemp(join(root, 'source-'));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}

async function pin(kind: SourceKind, text: string, split = 'train'): Promise<PinnedSource> {
  const parsed = parseSource(kind, text, 'main');
  assert.ok(parsed.ok);
  const tree = await openSource(kind, parsed.source, deps);
  if (kind === 'model') return tree.pin(await selectModelFiles(tree));
  const { data, cards } = selectDatasetFiles(tree, split);
  return tree.pin([...data, ...cards]);
}

const target = (): Promise<string> => mkdtemp(join(root, 'out-'));
const save = async (pinned: PinnedSource, dir: string, split = 'train') => saveDataset({ pinned, split, deps, dir });

test("takes the split's files with the card, or every data file where no name has the split", async () => {
  const source = await folder({
    'data/train-00000-of-00001.jsonl': '{}\n',
    'data/test-00000-of-00001.jsonl': '{}\n',
    'training.json': '[]',
    'dataset_infos.json': '{}',
    'README.md': '# Rows',
    'notes.txt': 'no data',
    '.git/config.json': '{}',
  });
  const dir = await target();
  const summary = await save(await pin('dataset', source), dir);
  assert.deepEqual(await readdir(dir, { recursive: true }), ['README.md', 'data', 'data/train-00000-of-00001.jsonl']);
  assert.deepEqual([summary.files, summary.bytes], [2, 9]);

  const others = await folder({ 'a.jsonl': '{}\n', 'b/c.jsonl': '{}\n' });
  const all = await target();
  await save(await pin('dataset', others), all);
  assert.deepEqual(await readdir(all, { recursive: true }), ['a.jsonl', 'b', 'b/c.jsonl']);
});

test('a single file is a data set whatever its split', async () => {
  const source = join(await folder({ 'rows.jsonl': '{}\n', 'other.jsonl': '{}\n' }), 'rows.jsonl');
  const dir = await target();
  await save(await pin('dataset', source), dir);
  assert.deepEqual(await readdir(dir), ['rows.jsonl']);
});

test('rows in two formats are refused: they might be the same rows', async () => {
  const source = await folder({ 'train.jsonl': '{}\n', 'train.parquet': 'PAR1' });
  await assert.rejects(pin('dataset', source), { type: 'DatasetRejected', message: /as JSONL and as Parquet/ });
});

test('a folder that changed after it was pinned is refused', async () => {
  const source = await folder({ 'train.jsonl': '{"a": 1}\n' });
  const pinned = await pin('dataset', source);
  await writeFile(join(source, 'train.jsonl'), '{"a": 2}\n');
  await assert.rejects(save(pinned, await target()), {
    type: 'DatasetRejected',
    message: /changed while the run was under way.*start the run again/,
  });
});

test('the pin of a folder follows content and names, not place or time', async () => {
  const [a, b, renamed] = await Promise.all([
    folder({ 'train.jsonl': '{}\n' }),
    folder({ 'train.jsonl': '{}\n', 'notes.txt': 'not taken' }),
    folder({ 'train-0.jsonl': '{}\n' }),
  ]);
  assert.equal((await pin('dataset', a)).revision, (await pin('dataset', b)).revision);
  assert.notEqual((await pin('dataset', a)).revision, (await pin('dataset', renamed)).revision);
});

for (const from of ['folder', 'Hub'] as const) {
  test(`a model from a ${from} gets tokenizer.json and a chat template, and leaves its code behind`, async () => {
    const pinned = await pin('model', from === 'Hub' ? 'hf://owner/tiny' : await folder(tinyModel()));
    const dir = await target();
    const summary = await saveModel({ pinned, deps, dir });
    assert.deepEqual((await readdir(dir)).sort(), [
      'chat_template.jinja',
      'config.json',
      'merges.txt',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'vocab.json',
    ]);
    assert.equal(summary.files, 7, 'what came, not what was added');
    for (const [path, content] of Object.entries(tinyModel())) {
      if (!path.endsWith('.py')) assert.deepEqual(await readFile(join(dir, path)), Buffer.from(content), path);
    }
    const tokenizer = new Tokenizer(JSON.parse(await readFile(join(dir, 'tokenizer.json'), 'utf8')), {});
    assert.deepEqual(tokenizer.encode('<|mask|>').ids, [specialTokens['<|mask|>']]);
  });
}

test("a model's own tokenizer.json and template stay as they came", async () => {
  const own = { 'tokenizer.json': '{"model": {"vocab": {}}}', 'tokenizer_config.json': '{"chat_template": "own"}' };
  const dir = await target();
  await saveModel({ pinned: await pin('model', await folder({ ...tinyModel(), ...own })), deps, dir });
  assert.equal(await readFile(join(dir, 'tokenizer.json'), 'utf8'), own['tokenizer.json']);
  assert.ok(!(await readdir(dir)).includes('chat_template.jinja'));
});

test('a download that was cancelled goes on where it was in the next attempt', async () => {
  const shard = 'model-00001-of-00002.safetensors';
  hub.push({ type: 'model', name: 'owner/cut', files: tinyModel() });
  const pinned = await pin('model', 'hf://owner/cut');
  const away: Fault = { kind: 'unavailable', path: shard, times: 20 };
  hub.inject({ kind: 'cut', path: shard, afterBytes: 60_000, times: 1 });
  hub.inject(away);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 500);
  await assert.rejects(saveModel({ pinned, deps, dir: await target(), transfer: { signal: stop.signal } }));
  away.times = 0;
  hub.requests.length = 0;
  const dir = await target();
  await saveModel({ pinned, deps, dir });
  assert.deepEqual(await readFile(join(dir, shard)), tinyModel()[shard]);
  assert.ok(
    hub.requests.some((request) => /^bytes=[1-9]/.test(request.range ?? '')),
    'a Range was sent',
  );
});
