import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { convertDataset } from '../../../../activities/convert/convert.ts';
import { type FilterInput, filterSplits, type Reject } from '../../../../activities/filter/filter.ts';
import type { Lengths, SplitName } from '../../../../activities/filter/lengths.ts';
import { readParquet } from '../../../../activities/parquet/read.ts';
import { type SplitRow, splitSchema } from '../../../../activities/parquet/split-row.ts';
import { writeParquet } from '../../../../activities/parquet/write.ts';
import { ModelTokenizer } from '../../../../activities/tokenizer.ts';
import { runSpecSchema } from '../../../../contracts/run-spec.ts';
import { collect } from '../../../fixtures/collect.ts';
import { dreamTokens, writeDreamTokenizer } from '../../../fixtures/dream-tokenizer.ts';
import { s1kFile } from '../../../fixtures/reference.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';
import { tinyModel } from '../../../fixtures/tiny-model.ts';

/** A token a byte, and a template of 3 tokens round the question. */
async function byteTokenizer(context: TestContext): Promise<ModelTokenizer> {
  const folder = await scratchFolder(context);
  for (const [name, content] of Object.entries(tinyModel())) await writeFile(join(folder, name), content);
  await writeFile(join(folder, 'chat_template.jinja'), '<|im_start|>{{ messages[-1].content }}<|im_end|>:');
  return ModelTokenizer.load(folder);
}

const row = (id: string, question: string, response: string, reference = 'r'): SplitRow => ({
  id,
  prompt: [{ role: 'user', content: question }],
  response,
  reference,
  source: null,
});

const limits = (maxTokens: number, maxNewTokens: number) =>
  runSpecSchema.parse({
    filter: { maxTokens, thresholds: [8, 16] },
    eval: { sampler: { maxNewTokens } },
  });

async function filter(
  context: TestContext,
  splits: Record<SplitName, SplitRow[]>,
  {
    maxTokens = 20,
    maxNewTokens = 8,
    ...turn
  }: { maxTokens?: number; maxNewTokens?: number } & Partial<FilterInput> = {},
) {
  const from = await scratchFolder(context);
  const to = await scratchFolder(context);
  for (const [split, rows] of Object.entries(splits)) {
    await writeParquet(join(from, `${split}.parquet`), splitSchema, rows);
  }
  const tokenizer = await byteTokenizer(context);
  const summary = await filterSplits({ from, to, tokenizer, spec: limits(maxTokens, maxNewTokens), ...turn });
  const read = async (split: SplitName) =>
    (await collect(readParquet<SplitRow>(join(to, `${split}.parquet`)))).map(({ id }) => id);
  const rejects = (await readFile(join(to, 'rejects.jsonl'), 'utf8')).split('\n').filter(Boolean);
  return {
    summary,
    train: await read('train'),
    validation: await read('validation'),
    rejects: rejects.map((line) => JSON.parse(line) as Reject),
    lengths: JSON.parse(await readFile(join(to, 'lengths.json'), 'utf8')) as Lengths,
  };
}

const good = row('good', 'q', 'a');

test('keeps a training row of exactly maxTokens and rejects one more by name', async (t) => {
  // 3 + 4 + 12 + end = 20.
  const splits = {
    train: [row('fits', 'four', 'x'.repeat(12)), row('long', 'four', 'x'.repeat(13))],
    validation: [good],
  };
  const { train, rejects, summary } = await filter(t, splits);
  assert.deepEqual(train, ['fits']);
  assert.deepEqual(rejects, [{ id: 'long', split: 'train', reason: 'over-long', tokens: 21 }]);
  assert.deepEqual(summary.train, { kept: 1, rejected: { 'over-long': 1 } });
});

test('keeps a validation question however long its response, unless its prompt leaves no room to answer', async (t) => {
  const validation = [
    row('long reference', 'q', 'x'.repeat(90)),
    row('room', 'x'.repeat(9), 'a'),
    row('no room', 'x'.repeat(10), 'a'),
  ];
  const result = await filter(t, { train: [good], validation });
  assert.deepEqual(result.validation, ['long reference', 'room']);
  assert.deepEqual(result.rejects, [{ id: 'no room', split: 'validation', reason: 'over-long', tokens: 21 }]);
});

test('rejects empty rows in both splits, and rows without reference only where answers are graded', async (t) => {
  const rows = [
    row('blank question', ' \n', 'a'),
    row('blank response', 'q', '\t'),
    row('no reference', 'q', 'a', ' '),
  ];
  const { train, validation, rejects } = await filter(t, { train: [good, ...rows], validation: [good, ...rows] });
  assert.deepEqual(train, ['good', 'no reference']);
  assert.deepEqual(validation, ['good']);
  assert.deepEqual(
    rejects.map(({ split, id, reason }) => [split, id, reason]),
    [
      ['train', 'blank question', 'empty'],
      ['train', 'blank response', 'empty'],
      ['validation', 'blank question', 'empty'],
      ['validation', 'blank response', 'empty'],
      ['validation', 'no reference', 'unlabelled'],
    ],
  );
});

test('measures all rows before anything is removed', async (t) => {
  const train = [row('5', '', ''), row('8', 'q', 'aaa'), row('9', 'q', 'aaaa'), row('200', 'q', 'a'.repeat(195))];
  const { lengths, summary } = await filter(t, { train: [...train, good], validation: [good] });
  // 4, 8, 9, 200, 6, 6
  assert.deepEqual(summary.over, [
    { threshold: 8, rows: 2 },
    { threshold: 16, rows: 1 },
  ]);
  assert.equal(summary.lengths.count, 6);
  assert.equal(summary.lengths.p50, 7);
  assert.equal(summary.lengths.max, 200);
  assert.deepEqual(lengths.describe, summary.lengths);
  assert.deepEqual(
    lengths.bins.filter(({ rows }) => rows > 0),
    [
      { from: 1, to: 4, rows: 1 },
      { from: 5, to: 8, rows: 3 },
      { from: 9, to: 12, rows: 1 },
      { from: 197, to: 200, rows: 1 },
    ],
  );
  assert.deepEqual(lengths.perSplit.validation.bins[1], { from: 5, to: 8, rows: 1 });
  assert.equal(lengths.prompt.max, 4);
  assert.equal(lengths.response.max, 196);
});

test('refuses literal special tokens, naming the first rows', async (t) => {
  const bad = Array.from({ length: 6 }, (_, index) => row(`r${index}`, 'q', 'see <|mask|>'));
  const splits = { train: [good, ...bad], validation: [row('v', 'a <|im_start|>', 'b')] };
  await assert.rejects(filter(t, splits), {
    type: 'DatasetRejected',
    message:
      '7 rows hold a special token of the model as literal text (train row r0: <|mask|> in the response; train row r1: <|mask|> in the response; train row r2: <|mask|> in the response; train row r3: <|mask|> in the response; train row r4: <|mask|> in the response and 2 more); expected text without special tokens; escape them, or leave these rows out of the data set.',
  });
  await assert.rejects(
    filter(t, { ...splits, train: [good] }),
    /1 row holds .*validation row v: <\|im_start\|> in the user message/,
  );
});

test('stops when nothing is left to train on, saying what would fit where', async (t) => {
  const train = [row('50', 'q', 'a'.repeat(45)), row('90', 'q', 'a'.repeat(85)), row('empty', 'q', '')];
  await assert.rejects(filter(t, { train, validation: [good] }), {
    type: 'DatasetRejected',
    message:
      'No train row is left of 3 (2 over-long, 1 empty); expected at least one; raise filter.maxTokens from 20 (1 rows fit into 80, 2 rows fit into 90), or map a shorter response (dataset.mapping.response, dataset.mapping.includeTrace none), or map other columns to dataset.mapping.question and dataset.mapping.response.',
  });
});

test('stops when no validation row has a reference, saying what to map', async (t) => {
  await assert.rejects(
    filter(t, { train: [good], validation: [row('v', 'q', 'a', '')] }),
    /No validation row is left of 1 \(1 unlabelled\); expected at least one; map the column of the answers to dataset\.mapping\.reference\./,
  );
});

test('stops at the signal, and leaves the event loop its turns', async (t) => {
  const many = Array.from({ length: 3000 }, (_, index) =>
    row(String(index), 'question'.repeat(20), 'answer'.repeat(20)),
  );
  const abort = new AbortController();
  let done = 0;
  setTimeout(() => abort.abort(), 60);
  const turn = { maxTokens: 2048, signal: abort.signal, progress: () => void done++ };
  await assert.rejects(filter(t, { train: many, validation: [good] }, turn), { name: 'AbortError' });
  assert.ok(done > 0 && done < 6000, `${done} rows`);
});

const problems = s1kFile('s1k-problems.jsonl');
test('measures the 1,000 real rows as published: mean 576.8, 451 above 512, 182 above 1,024, 19 above 2,048', {
  skip: existsSync(problems) ? false : `no ${problems}; set REVERIE_REFERENCE`,
}, async (t) => {
  const folder = await scratchFolder(t);
  const at = async (name: string): Promise<string> => {
    await mkdir(join(folder, name));
    return join(folder, name);
  };
  const [data, converted, model, to] = [await at('data'), await at('converted'), await at('model'), await at('to')];
  await writeFile(join(data, 's1k.jsonl'), await readFile(problems));
  const spec = runSpecSchema.parse({
    // The published statistics are taken with the template's default system prompt.
    dataset: { mapping: { response: 'solution', systemPrompt: null } },
    filter: { thresholds: [512, 1024, 2048] },
  });
  await convertDataset({ from: data, to: converted, dataset: spec.dataset });
  await writeDreamTokenizer(model);
  await writeFile(join(model, 'config.json'), JSON.stringify(dreamTokens));
  const tokenizer = await ModelTokenizer.load(model);
  const { lengths, over, train, validation } = await filterSplits({ from: converted, to, spec, tokenizer });
  const { count, mean, p25, p50, p75, max } = lengths;
  assert.deepEqual(
    { count, mean, p25, p50, p75, max },
    { count: 1000, mean: 576.762, p25: 137, p50: 412, p75: 889, max: 2936 },
  );
  assert.deepEqual(
    over.map(({ rows }) => rows),
    [451, 182, 19],
  );
  const file = JSON.parse(await readFile(join(to, 'lengths.json'), 'utf8')) as Lengths;
  assert.equal(file.prompt.mean, 145.988);
  assert.equal(file.response.mean, 430.774);
  // None of the 100 questions is dropped; of the training rows only the over-long are.
  assert.deepEqual(validation, { kept: 100, rejected: {} });
  const overLong = train.rejected['over-long'] ?? 0;
  assert.equal(train.kept + overLong, 900);
  assert.ok(overLong > 0 && overLong <= 19, `${overLong}`);
});
