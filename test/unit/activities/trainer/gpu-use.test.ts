import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { parseGpuUse, watchGpuUse } from '../../../../activities/trainer/gpu-use.ts';
import type { GpuUse } from '../../../../contracts/workflow-api.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

test("reads nvidia-smi's lines, and null where a GPU does not say", () => {
  assert.deepEqual(parseGpuUse('0, 97, 71680\n1, [N/A], 512\n'), [
    { index: 0, percent: 97, memoryGib: 70 },
    { index: 1, percent: null, memoryGib: 0.5 },
  ]);
  assert.deepEqual(parseGpuUse('No devices were found\n'), []);
});

test('goes on asking after an answer that failed, until it is told to end', { timeout: 20_000 }, async (t) => {
  const folder = await scratchFolder(t);
  const program = join(folder, 'nvidia-smi');
  const answers = async (text: string): Promise<void> => {
    await writeFile(program, `#!/bin/sh\n${text}\n`);
    await chmod(program, 0o755);
  };
  const { PATH } = process.env;
  process.env.PATH = [folder, PATH].join(delimiter);
  t.after(() => (process.env.PATH = PATH));
  const told: GpuUse[][] = [];
  const ended = new AbortController();
  await answers('exit 9');
  const watching = watchGpuUse((gpus) => void told.push(gpus), ended.signal, 20);
  await eventually('no figures', async () => told.at(-1)?.length === 0 || null);
  await answers('echo 0, 97, 71680');
  await eventually('figures', async () => told.at(-1)?.[0]?.percent === 97 || null);
  ended.abort();
  await watching;
});

test('asks once where there is no nvidia-smi', { timeout: 10_000 }, async (t) => {
  const { PATH } = process.env;
  process.env.PATH = await scratchFolder(t);
  t.after(() => (process.env.PATH = PATH));
  await watchGpuUse(() => assert.fail('told'), new AbortController().signal, 1);
});
