import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { lockHolder, takeLock } from '../../../../cli/setup/lock.mjs';

const module = new URL('../../../../cli/setup/lock.mjs', import.meta.url).href;
let dir: string;
let children: ChildProcess[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-lock-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(dir, { recursive: true });
});

/** A process that takes the lock, tells how it went, and stays until it is killed. */
async function taker(): Promise<{ child: ChildProcess; held: boolean }> {
  const script = `
    process.on('SIGTERM', () => process.exit());
    const { takeLock } = await import(${JSON.stringify(module)});
    console.log(takeLock('x', ${JSON.stringify(dir)}).held);
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [answer] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, held: answer.toString().trim() === 'true' };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  await once(child, 'exit');
}

test('names the living process that holds it', async () => {
  const { child } = await taker();
  const second = takeLock('x', dir);
  assert.ok(!second.held);
  assert.equal(second.by.pid, child.pid);
  assert.equal(lockHolder('x', dir)?.pid, child.pid);
});

test('is free again when its holder has ended, and leaves nothing behind', async () => {
  const { child } = await taker();
  await end(child, 'SIGTERM');
  assert.deepEqual(await readdir(dir), []);
  const lock = takeLock('x', dir);
  assert.ok(lock.held);
  lock.release();
  assert.deepEqual(await readdir(dir), []);
});

test('is taken over from a holder that was killed', async () => {
  const { child } = await taker();
  await end(child, 'SIGKILL');
  assert.deepEqual(await readdir(dir), ['x.lock']);
  assert.equal(lockHolder('x', dir), null);
  const lock = takeLock('x', dir);
  assert.ok(lock.held);
  lock.release();
});

test('is taken over from a dead holder whose number another process has now', {
  skip: process.platform !== 'linux' && 'tells processes of one number apart through /proc',
}, async () => {
  const { child } = await taker();
  const file = join(dir, 'x.lock');
  const holder = JSON.parse(await readFile(file, 'utf8'));
  await end(child, 'SIGTERM');
  await writeFile(file, JSON.stringify({ ...holder, pid: process.pid }));
  const lock = takeLock('x', dir);
  assert.ok(lock.held);
  lock.release();
});

test('is taken over from a file that says nothing', async () => {
  await writeFile(join(dir, 'x.lock'), '');
  const lock = takeLock('x', dir);
  assert.ok(lock.held);
  lock.release();
});

test('goes to one of many who find a dead holder at the same moment', async () => {
  const { child } = await taker();
  await end(child, 'SIGKILL');
  const takers = await Promise.all(Array.from({ length: 6 }, taker));
  assert.equal(takers.filter(({ held }) => held).length, 1);
});
