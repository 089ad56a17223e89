import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { takeLock } from '../../../cli/setup/lock.mjs';
import { root } from '../../../cli/setup/paths.mjs';

/** A clone in which nothing was installed. */
let clone: string;
before(() => {
  clone = mkdtempSync(join(tmpdir(), 'reverie-clone-'));
  for (const part of [
    'cli',
    'package.json',
    'package-lock.json',
    'trainer/pyproject.toml',
    'trainer/constraints.txt',
  ]) {
    cpSync(join(root, part), join(clone, part), { recursive: true });
  }
});
after(() => rmSync(clone, { recursive: true }));

function bootstrap(args: string[], env: NodeJS.ProcessEnv = {}) {
  const startedAt = performance.now();
  const result = spawnSync(process.execPath, [join(clone, 'cli', 'bootstrap.mjs'), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: clone, ...env },
  });
  return { ...result, seconds: (performance.now() - startedAt) / 1000 };
}

test('refuses a second demo in one clone at once, naming the first', () => {
  const lock = takeLock('demo', join(clone, '.reverie'));
  assert.ok(lock.held);
  try {
    const { status, stderr, stdout, seconds } = bootstrap(['demo', '--json']);
    assert.equal(status, 2);
    assert.match(
      stderr,
      new RegExp(`^Another demo is running in this clone: process ${process.pid}, .*; expected one at a time; .*\\n$`),
    );
    assert.equal(stdout, '');
    assert.ok(seconds < 5, `${seconds} s`);
  } finally {
    lock.release();
  }
});

test('refuses a set-up that would change packages under a running demo', () => {
  const lock = takeLock('demo', join(clone, '.reverie'));
  assert.ok(lock.held);
  try {
    const { status, stderr } = bootstrap(['setup']);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`^A demo is running in this clone: process ${process.pid},`));
  } finally {
    lock.release();
  }
});

test('refuses a named Python before anything is installed', () => {
  const { status, stderr } = bootstrap(['demo'], { REVERIE_PYTHON: '/nowhere/python' });
  assert.equal(status, 2);
  assert.match(stderr, /^REVERIE_PYTHON names \/nowhere\/python, which does not run/);
});

test('tells its usage, as an error where the verb is missing or unknown', () => {
  for (const [args, code] of [
    [[], 2],
    [['launch'], 2],
    [['--help'], 0],
  ] as const) {
    const { status, stderr } = bootstrap([...args]);
    assert.equal(status, code);
    assert.match(stderr, /^usage: node cli\/bootstrap\.mjs demo\|test\|setup\|run/);
  }
});
