import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readParquet, UnreadableParquet } from '../../../../activities/parquet/read.ts';
import { type SplitRow, splitSchema } from '../../../../activities/parquet/split-row.ts';
import { writeParquet } from '../../../../activities/parquet/write.ts';
import { collect } from '../../../fixtures/collect.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-parquet-'));
});
after(() => rm(dir, { recursive: true }));

const rows = (count: number): SplitRow[] =>
  Array.from({ length: count }, (_, index) => ({
    id: String(index),
    prompt: [
      { role: 'system', content: 'é你\u0000\r\n' },
      { role: 'user', content: 'x'.repeat(index % 700) },
    ],
    response: '🙂'.repeat(index % 3),
    reference: '',
    source: index % 2 ? null : 'here',
  }));

test('gives back the rows that were written, over several batches', async () => {
  const file = join(dir, 'rows.parquet');
  assert.equal(await writeParquet(file, splitSchema, rows(3000)), 3000);
  assert.deepEqual(await collect(readParquet<SplitRow>(file)), rows(3000));
});

test('reads only the columns and rows asked for', async () => {
  const file = join(dir, 'part.parquet');
  await writeParquet(file, splitSchema, rows(10));
  assert.deepEqual(await collect(readParquet(file, { columns: ['id'], limit: 2 })), [{ id: '0' }, { id: '1' }]);
});

test('writes the same bytes for the same rows', async () => {
  const files = [join(dir, 'one.parquet'), join(dir, 'two.parquet')] as const;
  for (const file of files) await writeParquet(file, splitSchema, rows(1500));
  assert.deepEqual(await readFile(files[0]), await readFile(files[1]));
});

test('writes a readable file when there are no rows', async () => {
  const file = join(dir, 'empty.parquet');
  assert.equal(await writeParquet(file, splitSchema, []), 0);
  assert.deepEqual(await collect(readParquet(file)), []);
});

test('throws on what the rows threw', async () => {
  const broken = async function* (): AsyncGenerator<SplitRow> {
    yield* rows(2000);
    throw new RangeError('the row broke');
  };
  await assert.rejects(writeParquet(join(dir, 'broken.parquet'), splitSchema, broken()), /^RangeError: the row broke$/);
});

test('refuses a file cut short, and goes on reading others after it', async () => {
  const file = join(dir, 'cut.parquet');
  await writeParquet(file, splitSchema, rows(100));
  const whole = await readFile(file);
  for (const size of [0, 5, 40, whole.length >> 1, whole.length - 1]) {
    await truncate(file, size);
    await assert.rejects(collect(readParquet(file)), UnreadableParquet, `${size} bytes`);
    await writeFile(file, whole);
  }
  assert.equal((await collect(readParquet(file))).length, 100);
});

test('refuses a file whose pages are damaged', async () => {
  const file = join(dir, 'damaged.parquet');
  await writeParquet(file, splitSchema, rows(2000));
  const bytes = await readFile(file);
  bytes.fill(0xff, 4, bytes.length >> 1);
  await writeFile(file, bytes);
  await assert.rejects(collect(readParquet(file)), UnreadableParquet);
});
