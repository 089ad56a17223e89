/** The folder of an attempt: what dead ones have saved is taken over, and what lives is left alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { dropOlder, openTrainingFolder } from '../../../../activities/train/training-folder.ts';
import { startOfProcess } from '../../../../activities/trainer/process-tree.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

async function setUp(t: TestContext) {
  const cacheDir = await scratchFolder(t);
  const root = join(cacheDir, 'training', 'key');
  const save = async (attempt: string, ...steps: number[]): Promise<void> => {
    for (const step of steps) {
      await mkdir(join(root, attempt, 'checkpoints', `step-${step}`), { recursive: true });
      await writeFile(join(root, attempt, 'checkpoints', `step-${step}`, 'by'), attempt);
    }
  };
  return { root, save, open: (attempt: string) => openTrainingFolder(cacheDir, 'key', attempt) };
}

test('an attempt takes over what ended ones have saved and what they themselves had taken over', async (t) => {
  const { root, save, open } = await setUp(t);
  const first = await open('1');
  await save('1', 5, 10);
  await first.release();
  const second = await open('2');
  await save('2', 15);
  await second.release();
  const { checkpoints } = await open('3');
  assert.deepEqual((await readdir(checkpoints)).sort(), ['step-10', 'step-15', 'step-5']);
  assert.deepEqual(await readdir(root), ['3']);
  await dropOlder(checkpoints, 15);
  assert.deepEqual((await readdir(checkpoints)).sort(), ['step-10', 'step-15']);
});

test('two at once leave each other alone, and only one gets what a dead one left', async (t) => {
  const { root, save, open } = await setUp(t);
  const living = await open('1');
  await save('1', 5);
  await save('0', 10, 20);
  const opened = await Promise.all(['2', '3', '4'].map((attempt) => open(attempt)));
  const taken = await Promise.all(opened.map(({ checkpoints }) => readdir(checkpoints)));
  assert.deepEqual(taken.flat().sort(), ['step-10', 'step-20']);
  assert.deepEqual(await readdir(join(living.runDir, 'checkpoints')), ['step-5']);
  assert.deepEqual((await readdir(root)).sort(), ['1', '2', '3', '4']);
});

test('an owner is dead when its process is, also where another process has its id', async (t) => {
  const { root, save, open } = await setUp(t);
  const child = spawn('sleep', ['60']);
  const pid = child.pid ?? 0;
  const start = await startOfProcess(pid);
  const own = (attempt: string, owner: object): Promise<void> =>
    writeFile(join(root, attempt, 'owner.json'), JSON.stringify({ host: hostname(), pid, start, ...owner }));
  await save('1', 5);
  await own('1', {});
  await save('2', 10);
  await own('2', { start: '1' });
  await save('3', 15);
  await own('3', { host: 'another' });
  assert.deepEqual(await readdir((await open('4')).checkpoints), ['step-10'], 'the others are at work');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(await readdir((await open('5')).checkpoints), ['step-5']);
});
