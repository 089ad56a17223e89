import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { convertDataset } from '../../../../activities/convert/convert.ts';
import type { DatasetProfile } from '../../../../activities/convert/profile.ts';
import { readParquet } from '../../../../activities/parquet/read.ts';
import type { SplitRow } from '../../../../activities/parquet/split-row.ts';
import { type RunSpecInput, runSpecSchema } from '../../../../contracts/run-spec.ts';
import { collect } from '../../../fixtures/collect.ts';
import { python } from '../../../fixtures/python.ts';
import { s1kFile } from '../../../fixtures/reference.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

type Content = Record<string, string | Uint8Array>;

async function convert(context: TestContext, content: Content, dataset: RunSpecInput['dataset'] = {}) {
  const folder = await scratchFolder(context);
  const from = join(folder, 'from');
  const to = join(folder, 'to');
  await mkdir(from);
  await mkdir(to);
  for (const [name, bytes] of Object.entries(content)) await writeFile(join(from, name), bytes);
  const summary = await convertDataset({ from, to, dataset: runSpecSchema.parse({ dataset }).dataset });
  const rows = async (side: string): Promise<SplitRow[]> => collect(readParquet<SplitRow>(join(to, `${side}.parquet`)));
  const profile = JSON.parse(await readFile(join(to, 'profile.json'), 'utf8')) as DatasetProfile;
  return { to, summary, profile, train: await rows('train'), validation: await rows('validation') };
}

const lines = (...records: unknown[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const generic = { mapping: { preset: 'generic' as const, systemPrompt: null } };
const pairs = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => ({ question: `q${from + index}`, answer: `a${from + index}` }));
const byId = (rows: SplitRow[]): SplitRow[] => rows.toSorted((a, b) => Number(a.id) - Number(b.id));

test('maps a row of s1K-1.1 to system and user message, attempt, reference and source', async (t) => {
  const row = {
    question: 'Why?',
    solution: '42',
    deepseek_attempt: 'So \\boxed{42}.',
    deepseek_thinking_trajectory: 'Hm.',
    source_type: 'oracle',
  };
  const { train, summary } = await convert(t, { 'train.jsonl': lines(row, row) });
  assert.deepEqual(train, [
    {
      id: train[0]?.id,
      prompt: [
        {
          role: 'system',
          content: 'You are a helpful AI assistant. Think step by step and provide detailed reasoning.',
        },
        { role: 'user', content: 'Why?' },
      ],
      response: 'So \\boxed{42}.',
      reference: '42',
      source: 'oracle',
    },
  ]);
  assert.deepEqual(summary.mapping, {
    question: 'question',
    response: 'deepseek_attempt',
    trace: 'deepseek_thinking_trajectory',
    reference: 'solution',
  });
});

test("joins s1K's list of trajectories and wraps it as asked", async (t) => {
  const row = { question: 'q', solution: 's', attempt: 'a', thinking_trajectories: ['one', 'two'] };
  const withTrace = (includeTrace: 'think-tags' | 'plain' | 'none') =>
    convert(t, { 'a.jsonl': lines(row, row) }, { mapping: { preset: 's1k', includeTrace } });
  assert.equal((await withTrace('think-tags')).train[0]?.response, '<think>\none\n\ntwo\n</think>\n\na');
  assert.equal((await withTrace('plain')).train[0]?.response, 'one\n\ntwo\n\na');
  assert.equal((await withTrace('none')).train[0]?.response, 'a');
});

test('adds no empty trace to a response, and makes no response of a trace alone', async (t) => {
  const row = { question: 'q', solution: 's', attempt: 'a', thinking_trajectories: ['t'] };
  const rows = [row, { ...row, thinking_trajectories: [] }, { ...row, attempt: ' ' }];
  const { train, validation } = await convert(
    t,
    { 'a.jsonl': lines(...rows) },
    { mapping: { preset: 's1k', includeTrace: 'plain' } },
  );
  assert.deepEqual(
    byId([...train, ...validation]).map(({ response }) => response),
    ['t\n\na', 'a', ' '],
  );
});

test('explicit columns go before the preset', async (t) => {
  const row = { question: 'q', solution: 's', name: 'r7', deepseek_attempt: 'd' };
  const { train, validation } = await convert(
    t,
    { 'a.jsonl': lines(row, { ...row, name: 'r8' }) },
    { mapping: { response: 'solution', id: 'name' } },
  );
  assert.deepEqual([...train, ...validation].map((each) => [each.id, each.response]).sort(), [
    ['r7', 's'],
    ['r8', 's'],
  ]);
});

for (const [title, content] of Object.entries<Content>({
  'JSON Lines with a byte order mark, CRLF and blank lines': {
    'a.jsonl': `\ufeff${lines(...pairs(6)).replaceAll('\n', '\r\n\r\n')}`,
  },
  'JSON Lines without a last newline': { 'a.jsonl': lines(...pairs(6)).trimEnd() },
  'gzipped JSON Lines': { 'a.jsonl.gz': gzipSync(lines(...pairs(6))) },
  'a JSON array': { 'a.json': JSON.stringify(pairs(6), null, 2) },
  'JSON Lines in a .json file': { 'a.json': lines(...pairs(6)) },
  'several files in order of name': { 'b.jsonl': lines(...pairs(2, 4)), 'a.jsonl': lines(...pairs(4)) },
})) {
  test(`reads ${title}`, async (t) => {
    const { train, validation } = await convert(t, { 'README.md': '# card', ...content }, generic);
    assert.deepEqual(
      byId([...train, ...validation]).map(({ id, prompt, response }) => ({ id, prompt, response })),
      pairs(6).map(({ question, answer }, index) => ({
        id: String(index),
        prompt: [{ role: 'user', content: question }],
        response: answer,
      })),
    );
  });
}

test('reads an array whose strings hold brackets, quotes, commas and split characters', async (t) => {
  const nasty = { question: '[{"\\,]}🙂'.repeat(20_000), answer: '\\"]' };
  const { train, validation } = await convert(t, { 'a.json': JSON.stringify([nasty, nasty]) }, generic);
  assert.equal(train[0]?.prompt[0]?.content, nasty.question);
  assert.equal(validation[0]?.response, nasty.answer);
});

test('writes the same bytes for the same input', async (t) => {
  const digests = async (): Promise<string[]> => {
    const { to } = await convert(t, { 'a.jsonl': lines(...pairs(500)) }, generic);
    const names = (await readdir(to)).sort();
    assert.deepEqual(names, ['profile.json', 'train.parquet', 'validation.parquet']);
    return Promise.all(
      names.map(async (name) =>
        createHash('sha256')
          .update(await readFile(join(to, name)))
          .digest('hex'),
      ),
    );
  };
  assert.deepEqual(await digests(), await digests());
});

test('profiles rows, columns, the first row, sources, and lengths as pandas describes them', async (t) => {
  const rows = ['🙂', 'bb', 'cccc', 'ddddddd'].map((question, index) => ({
    question,
    answer: 'x',
    source: index ? 'web' : 'book',
  }));
  const { profile } = await convert(t, { 'a.jsonl': lines(...rows) }, generic);
  assert.equal(profile.rows, 4);
  assert.deepEqual(profile.columns, ['question', 'answer', 'source']);
  assert.deepEqual(profile.firstRow, rows[0]);
  assert.deepEqual(profile.sources, [
    { source: 'web', rows: 3 },
    { source: 'book', rows: 1 },
  ]);
  // pandas.Series([1, 2, 4, 7]).describe()
  const expected = { count: 4, mean: 3.5, std: 2.6457513110645907, min: 1, p25: 1.75, p50: 3, p75: 4.75, max: 7 };
  assert.deepEqual(profile.characters.question, expected);
  assert.equal(profile.characters.trace, null);
});

const columnsOfS1k = { question: 'q', solution: 's', attempt: 'a', thinking_trajectories: ['t'] };
const manyLines = (bad: string): string => `${lines(...pairs(3))}${bad}\n`;
for (const [title, content, dataset, message] of [
  [
    'wrong columns, naming what is there and the preset that fits',
    { 'a.jsonl': lines(columnsOfS1k) },
    {},
    /^The data set has no column deepseek_attempt, which preset s1k-1.1 wants for the response; expected one of question, solution, attempt, thinking_trajectories; use dataset.mapping.preset s1k, which fits, or set dataset.mapping.response to a column\.$/,
  ],
  [
    'a named column that is not there',
    { 'a.jsonl': lines(...pairs(2)) },
    { mapping: { preset: 'generic', trace: 'thoughts', id: 'key' } },
    /no column thoughts, which dataset.mapping.trace names for the trace; expected one of question, answer; set.*\nThe data set has no column key/,
  ],
  [
    'a trace that is wanted and missing',
    { 'a.jsonl': lines(...pairs(2)) },
    { mapping: { preset: 'generic', includeTrace: 'plain' } },
    /no column thinking, .*set dataset.mapping.trace to a column or dataset.mapping.includeTrace to none\.$/,
  ],
  [
    'malformed JSON, with its line',
    { 'a.jsonl': manyLines('{"question": ') },
    generic,
    /^a\.jsonl, line 4 is text that is not JSON/,
  ],
  [
    'a line that is no object',
    { 'a.jsonl': manyLines('[1]') },
    generic,
    /^a\.jsonl, line 4 is an array; expected one JSON object/,
  ],
  [
    'invalid UTF-8, with its line',
    { 'a.jsonl': Buffer.concat([Buffer.from(lines(...pairs(2))), Buffer.from([0x22, 0xff, 0x22, 0x0a])]) },
    generic,
    /^a\.jsonl, line 3 holds bytes that are not UTF-8; expected UTF-8 text; convert/,
  ],
  [
    'an array cut short',
    { 'a.json': '[{"question": "q",\n"answer": "a"},' },
    generic,
    /^a\.json, line 2 is the end of the file inside the array/,
  ],
  [
    'an array with a broken element',
    { 'a.json': '[{"question": "q"},\n\n{"question" 1}]' },
    generic,
    /^a\.json, line 3 is text that is not JSON/,
  ],
  [
    'gzip cut short',
    { 'a.jsonl.gz': gzipSync(lines(...pairs(500))).subarray(0, 300) },
    generic,
    /^a\.jsonl\.gz cannot be unpacked/,
  ],
  [
    'truncated Parquet',
    { 'a.parquet': 'PAR1 and no more' },
    generic,
    /^a\.parquet cannot be read after row 0 \(.*\); expected a whole Parquet file; copy or write it again\.$/,
  ],
  ['no rows', { 'a.jsonl': '\n\n' }, generic, /^The data set holds no rows \(a\.jsonl\); expected at least 2/],
  [
    'a single row, which the split would hold out',
    { 'a.jsonl': lines(...pairs(1)) },
    generic,
    /has 1 rows, and dataset.validationFraction 0\.1 holds out all/,
  ],
  [
    'a value that is no text',
    { 'a.jsonl': lines(...pairs(2), { question: 'q', answer: 18 }) },
    generic,
    /^a\.jsonl, line 3, column answer is 18; expected text; map another column/,
  ],
  [
    'half a surrogate pair',
    { 'a.jsonl': '{"question": "\\ud83d", "answer": "a"}\n' },
    generic,
    /^a\.jsonl, line 1, column question holds half of a surrogate pair/,
  ],
  [
    'a mapping that yields only empty responses',
    { 'a.jsonl': lines({ question: 'q', answer: ' ', worked: 'w' }, { question: 'q', answer: null, worked: 'w' }) },
    generic,
    /^Column answer, mapped to the response, is empty in all 2 rows; expected text to learn; set dataset.mapping.response to one of worked\.$/,
  ],
  [
    'an id that comes twice',
    { 'a.jsonl': lines({ ...pairs(1)[0], key: 7 }, { ...pairs(1)[0], key: 7 }) },
    { mapping: { preset: 'generic', id: 'key' } },
    /^a\.jsonl, line 2, column key repeats the id 7/,
  ],
] as [string, Content, RunSpecInput['dataset'], RegExp][]) {
  test(`rejects ${title}`, async (t) => {
    await assert.rejects(convert(t, content, dataset), (error: Error & { type?: string }) => {
      assert.equal(error.type, 'DatasetRejected', error.stack);
      assert.match(error.message, message);
      return true;
    });
  });
}

const readers = `
import json, os, sys
folder = sys.argv[1]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = os.path.join(folder, "hf")
import datasets, pandas, pyarrow.parquet
file = os.path.join(folder, "train.parquet")
table = pyarrow.parquet.read_table(file)
frame = pandas.read_parquet(file)
dataset = datasets.load_dataset("parquet", data_files=file, split="train")
plain = lambda row: {**row, "prompt": [dict(message) for message in row["prompt"]]}
print(json.dumps({
  "schema": str(table.schema.remove_metadata()),
  "pyarrow": table.to_pylist(),
  "pandas": [plain(row) for row in json.loads(frame.to_json(orient="records"))],
  "datasets": [plain(row) for row in dataset],
}))
`;

test('is read alike by pyarrow, pandas and datasets', { skip: python.skip }, async (t) => {
  const rows = pairs(5).map((row, index) => ({
    ...row,
    answer: index ? '多\n' : '',
    source: index % 2 ? 'odd' : null,
  }));
  const { to, train } = await convert(t, { 'a.jsonl': lines(...rows) }, { mapping: { preset: 'generic' } });
  const { stdout } = await promisify(execFile)(python.path, ['-c', readers, to]);
  const read = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual(read.pyarrow, train);
  assert.deepEqual(read.pandas, train);
  assert.deepEqual(read.datasets, train);
  assert.match(String(read.schema), /prompt: list<element: struct<role: string not null, content: string not null>/);
});

const writers = `
import sys, pandas, pyarrow, pyarrow.parquet
rows = [{"question": f"q{i}", "answer": f"a{i}", "thinking": ["t", "u"], "key": i} for i in range(300)]
pandas.DataFrame(rows).to_parquet(sys.argv[1] + "/a.parquet")
table = pyarrow.Table.from_pylist(rows)
table = table.set_column(1, "answer", table["answer"].dictionary_encode())
pyarrow.parquet.write_table(table, sys.argv[1] + "/b.parquet", compression="zstd", row_group_size=70)
`;

test('reads what pandas and pyarrow write', { skip: python.skip }, async (t) => {
  const folder = await scratchFolder(t);
  await promisify(execFile)(python.path, ['-c', writers, folder]);
  for (const file of ['a.parquet', 'b.parquet']) {
    const bytes = await readFile(join(folder, file));
    const { train, validation, profile } = await convert(
      t,
      { [file]: bytes },
      { mapping: { preset: 'generic', id: 'key', includeTrace: 'plain', systemPrompt: null } },
    );
    const all = byId([...train, ...validation]);
    assert.equal(all.length, 300);
    assert.deepEqual(all[299], {
      id: '299',
      prompt: [{ role: 'user', content: 'q299' }],
      response: 't\n\nu\n\na299',
      reference: 'a299',
      source: null,
    });
    assert.deepEqual(profile.firstRow, { question: 'q0', answer: 'a0', thinking: ['t', 'u'], key: '0' });
  }
});

const problems = s1kFile('s1k-problems.jsonl');
test('converts the 1,000 real rows of s1K into the split of seed 42', {
  skip: existsSync(problems) ? false : `no ${problems}; set REVERIE_REFERENCE`,
}, async (t) => {
  const folder = await scratchFolder(t);
  await mkdir(join(folder, 'from'));
  await copyFile(problems, join(folder, 'from', 's1k-problems.jsonl'));
  const { dataset } = runSpecSchema.parse({ dataset: { mapping: { response: 'solution' } } });
  await convertDataset({ from: join(folder, 'from'), to: folder, dataset });
  const split = JSON.parse(await readFile(s1kFile('split-seed42-n1000.json'), 'utf8')) as Record<string, number[]>;
  for (const side of ['train', 'validation']) {
    const rows = await collect(readParquet<SplitRow>(join(folder, `${side}.parquet`)));
    assert.deepEqual(
      rows.map((row) => Number(row.id)),
      split[side],
    );
  }
  const { characters } = JSON.parse(await readFile(join(folder, 'profile.json'), 'utf8')) as DatasetProfile;
  assert.equal(characters.question?.mean.toFixed(1), '381.8');
  assert.equal(characters.response?.mean.toFixed(1), '1075.9');
  assert.equal(characters.response?.p50, 650.5);
  assert.equal(characters.response?.max, 6904);
});
