import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import type { Kernels } from '../../../../activities/train/kernels.ts';
import { precompile } from '../../../../activities/train/precompile.ts';
import { marked } from '../../../../activities/trainer/process-tree.ts';
import type { TrainerTrainSpec } from '../../../../contracts/trainer.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

const skip = process.platform === 'linux' ? false : 'processes are found through /proc';

/** With a shell script as interpreter, since what it compiles is the trainer's own matter. */
async function ahead(t: TestContext, script: string) {
  const root = await scratchFolder(t);
  const python = join(root, 'python');
  await writeFile(python, `#!/bin/sh\n${script}\n`);
  await chmod(python, 0o755);
  const told: { msg: string; told?: string }[] = [];
  const shared: string[] = [];
  const kernels = { file: join(root, 'kernels'), share: async () => void shared.push('shared') } as unknown as Kernels;
  const stop = new AbortController();
  const attempt = `ahead-${process.pid}-${Math.random()}`;
  const start = (timeoutSeconds = 60) =>
    precompile({
      deps: {
        python,
        cacheDir: root,
        ranks: 2,
        log: pino({ level: 'warn' }, { write: (line) => void told.push(JSON.parse(line)) }),
      },
      execution: { attemptPrefix: attempt },
      spec: { version: 1, identity: 'key' } as TrainerTrainSpec,
      kernels,
      runDir: join(root, 'run'),
      signal: stop.signal,
      timeoutSeconds,
    });
  return { root, start, stop, told, shared, left: () => marked('REVERIE_ATTEMPT', attempt) };
}

test('compiles by the spec into the file, and shares it', { skip }, async (t) => {
  const { root, start, told, shared, left } = await ahead(t, 'echo "$@" > "$0.told"');
  await start();
  const arguments_ = (await readFile(join(root, 'python.told'), 'utf8')).trim();
  const spec = join(root, 'run', 'precompile.json');
  assert.equal(arguments_, `-m dream_trainer precompile --spec ${spec} --kernels ${join(root, 'kernels')} --ranks 2`);
  assert.deepEqual(JSON.parse(await readFile(spec, 'utf8')), { version: 1, identity: 'key' });
  assert.deepEqual([told, shared, await left()], [[], ['shared'], []]);
});

test('what fails is told and fails no training', { skip }, async (t) => {
  const { start, told } = await ahead(t, 'echo no room >&2; exit 1');
  await start();
  assert.equal(told[0]?.msg, 'compiling ahead failed; the training does it');
  assert.equal(told[0]?.told, 'no room\n');
  const other = await ahead(t, 'exit 0');
  await writeFile(join(other.root, 'run'), 'in the way');
  await other.start();
  assert.equal(other.told.length, 1);
});

for (const how of ['stopped', 'too slow'] as const) {
  test(`${how}, it leaves no process behind, those included that left its session`, { skip }, async (t) => {
    const { start, stop, told, left } = await ahead(t, 'setsid sleep 300 & sleep 300');
    const compiling = start(how === 'too slow' ? 1 : 60);
    await eventually('three processes', async () => (await left()).length === 3 || null);
    if (how === 'stopped') stop.abort();
    await compiling;
    assert.deepEqual(await left(), []);
    assert.equal(told.length, how === 'stopped' ? 0 : 1, 'a stop is no failure');
  });
}
