import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Pcg64 } from '../../../../activities/convert/pcg64.ts';
import { permutation, trainTestSplit } from '../../../../activities/convert/train-test-split.ts';
import { s1kFile } from '../../../fixtures/reference.ts';

const hex = (value: bigint): string => value.toString(16);

/** First 16 hex digits of SHA-256 over `default_rng(seed).permutation(n).astype('<u4').tobytes()`, numpy 2.4.6. */
const permutations: [seed: bigint, length: number, digest: string][] = [
  [0n, 1, 'df3f619804a92fdb'],
  [0n, 2, '01acecb507abfe1a'],
  [1n, 10, '41eb7b0a92571581'],
  [42n, 1000, '7f19183d29590582'],
  [7n, 1025, 'd39d60ea99dd465c'],
  [4294967296n, 257, '4f5c88cd0ffd1b6f'],
  [9007199254740991n, 4096, '6a61926fbdb602fc'],
  [12345678901234567890123456789012345678901234567890123n, 300, 'aa915e0aca0703ce'],
  [3n, 100000, 'dc8b80b1a159a012'],
];

test("draws numpy's stream for seed 42", () => {
  const random = new Pcg64(42);
  assert.deepEqual(
    [1, 2, 3].map(() => hex(random.nextUint64())),
    ['c621fbcd16d92688', '705a5661a791ffc1', 'dbcd12c26eda1624'],
  );
});

for (const [seed, length, digest] of permutations) {
  test(`permutes ${length} rows by seed ${seed} as numpy does`, () => {
    const order = permutation(length, seed);
    assert.equal(createHash('sha256').update(order).digest('hex').slice(0, 16), digest);
  });
}

test('rounds the validation side up and leaves every row on one side', () => {
  const { train, validation } = trainTestSplit(11, 0.1, 5);
  assert.equal(validation.length, 2);
  assert.deepEqual(
    [...train, ...validation].sort((a, b) => a - b),
    Array.from({ length: 11 }, (_, row) => row),
  );
});

const splitFile = s1kFile('split-seed42-n1000.json');
test("gives the rows of datasets' train_test_split for 1,000 rows and seed 42, in its order", {
  skip: existsSync(splitFile) ? false : `no ${splitFile}; set REVERIE_REFERENCE`,
}, async () => {
  const expected = JSON.parse(await readFile(splitFile, 'utf8')) as { train: number[]; validation: number[] };
  const split = trainTestSplit(1000, 0.1, 42);
  assert.deepEqual([...split.validation], expected.validation);
  assert.deepEqual([...split.train], expected.train);
});
