/** The short form of `npm run chaos`, with faults at moments that are drawn anew each time; the seed is in the output. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execa } from 'execa';
import { python } from '../fixtures/python.ts';

const main = new URL('main.ts', import.meta.url).pathname;

test('every fault of the short form is recovered from, to the bit', {
  skip: python.skip,
  timeout: 600_000,
}, async (t) => {
  const { exitCode, all } = await execa(process.execPath, ['--import', 'tsx', main], { all: true, reject: false });
  t.diagnostic(all);
  assert.equal(exitCode, 0, all);
});
