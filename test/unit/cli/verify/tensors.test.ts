import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Damaged } from '../../../../activities/store/damaged.ts';
import { hashTensors } from '../../../../cli/verify/tensors.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

interface Given {
  dtype: string;
  shape: number[];
  bytes: number[];
  /** First row and whole shape, of a piece. */
  of?: [number, number[]];
}

function safetensors(tensors: Record<string, Given>): Buffer {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
    const begin = end;
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const pieces = Object.entries(tensors).flatMap(([name, { of }]) => (of ? [[name, of]] : []));
  const metadata = pieces.length > 0 ? { __metadata__: { pieces: JSON.stringify(Object.fromEntries(pieces)) } } : {};
  const header = Buffer.from(JSON.stringify({ ...metadata, ...Object.fromEntries(entries) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.from(Object.values(tensors).flatMap(({ bytes }) => bytes))]);
}

async function hashOf(t: TestContext, files: Record<string, Record<string, Given>>): Promise<string> {
  const folder = join(await scratchFolder(t), 'step-1');
  await mkdir(folder);
  for (const [name, tensors] of Object.entries(files))
    await writeFile(join(folder, `optimizer-${name}.safetensors`), safetensors(tensors));
  return hashTensors(folder, 'optimizer-');
}

const codes = (bytes: number[], of?: [number, number[]]): Given => ({
  ...{ dtype: 'I8', shape: [bytes.length / 2, 2], bytes },
  ...(of && { of }),
});
const step: Given = { dtype: 'U8', shape: [], bytes: [9] };

test('tensors in 8 bits have a hash, and rows that ranks shared have that of the whole', async (t) => {
  const whole = await hashOf(t, { 0: { codes: codes([1, 2, 3, 4, 5, 6]), step } });
  const shared = {
    0: { codes: codes([1, 2, 3, 4], [0, [3, 2]]), step },
    1: { codes: codes([5, 6], [2, [3, 2]]) },
  };
  assert.equal(await hashOf(t, shared), whole);
  assert.notEqual(await hashOf(t, { 0: { codes: codes([1, 2, 3, 4, 5, 7]), step } }), whole);
});

test('rows that are missing or twice there are damage', async (t) => {
  const first = { codes: codes([1, 2], [0, [3, 2]]) };
  for (const [files, told] of [
    [{ 0: first }, /^codes ends with row 1 of 3$/],
    [{ 0: first, 1: { zero: step } }, /^codes ends with row 1 of 3$/],
    [{ 0: first, 1: { codes: codes([5, 6], [2, [3, 2]]) } }, /optimizer-1.safetensors has codes from row 2, not 1$/],
    [{ 0: first, 1: first }, /has codes from row 0, not 1$/],
  ] as const) {
    await assert.rejects(hashOf(t, files), (error) => error instanceof Damaged && told.test(error.message));
  }
});
