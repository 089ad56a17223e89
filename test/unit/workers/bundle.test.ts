import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, cp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { scratchFolder } from '../../fixtures/scratch.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..', '..');

/** What a CPU worker would run, and what it says. */
const ASK = `
  const said = [];
  const { workflowBundle } = await import('./workers/bundle.ts');
  const { code, codePath } = await workflowBundle({ warn: (_, message) => said.push(message) });
  process.stdout.write(JSON.stringify({ codePath, marked: code?.includes('changed-in-the-test') ?? null, said }));
`;

test('a worker runs the sources as they are, and says so where the bundle was made from others', async (t) => {
  const clone = await scratchFolder(t);
  for (const part of ['contracts', 'workflows', 'workers', 'package.json', 'package-lock.json'])
    await cp(join(root, part), join(clone, part), { recursive: true });
  await symlink(join(root, 'node_modules'), join(clone, 'node_modules'));
  const node = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, ['--import', 'tsx', ...args], { cwd: clone })).stdout;
  const ask = async () => {
    const text = await node('--input-type=module', '--eval', ASK);
    return JSON.parse(text) as { codePath?: string; marked: boolean | null; said: string[] };
  };
  const bundle = join(clone, '.reverie', 'workflow-bundle.js');

  await node('workers/bundle.ts');
  assert.deepEqual(await ask(), { codePath: bundle, marked: null, said: [] });

  await appendFile(join(clone, 'workflows', 'index.ts'), "export const marker = 'changed-in-the-test';\n");
  const stale = await ask();
  assert.equal(stale.marked, true, 'the change is in what it runs');
  assert.match(
    stale.said.join('\n'),
    /^the workflow bundle was made from other sources; expected .*; run `node cli\/bootstrap.mjs setup`$/,
  );

  await node('workers/bundle.ts');
  assert.deepEqual(await ask(), { codePath: bundle, marked: null, said: [] }, 'bundled again');

  await rm(`${bundle}.stamp`);
  assert.equal((await ask()).marked, true, 'nobody wrote down what it was made from');
});
