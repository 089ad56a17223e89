import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { reference, referenceFile } from '../../cli/write-reference.ts';

test('the reference is as the code has it; `node --import tsx cli/write-reference.ts` writes it', async () => {
  assert.equal(await readFile(referenceFile, 'utf8'), reference());
});
