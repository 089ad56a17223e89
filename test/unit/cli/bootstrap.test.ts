import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from '../../../cli/setup/lock.mjs';
import { root } from '../../../cli/setup/paths.mjs';

/** A clone in which nothing was installed. */
let clone: string;
before(() => {
  clone = mkdtempSync(join(tmpdir(), 'reverie-clone-'));
  for (const part of [
    'cli',
    'workers/bundle-file.mjs',
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
    assert.match(stderr, /^usage: node cli\/bootstrap\.mjs demo\|test\|chaos\|bench\|setup\|run/);
  }
});

describe('with programs that stand in for npm, Python and the Temporal CLI', () => {
  let env: NodeJS.ProcessEnv;
  const program = (name: string, script: string): string => {
    const file = join(clone, 'bin', name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  before(() => {
    mkdirSync(join(clone, 'bin'));
    // As slow as on a busy machine: npm has failed by then.
    program('temporal', 'sleep 0.3; echo temporal version 1.9.1');
    const python = program('python', `echo '{"version": [3, 12, 1], "missing": []}'`);
    env = { PATH: `${join(clone, 'bin')}:${process.env.PATH}`, HOME: clone, REVERIE_PYTHON: python };
  });

  test("tells npm's last words when it fails, and frees the lock", () => {
    program('npm', 'echo the registry is away >&2; exit 7');
    const { status, stdout, stderr } = bootstrap(['setup'], env);
    assert.equal(status, 2);
    assert.match(stdout, /^Setting up: npm packages.*\n✗ npm packages {2}\d+\.\d s\n$/);
    assert.match(
      stderr,
      /^`npm ci .*` ended with exit code 7; expected exit code 0; check that npm .*\nthe registry is away\n$/,
    );
    assert.deepEqual(readdirSync(join(clone, '.reverie')), []);
  });

  test('ends npm with itself on a signal, also where npm does not listen, and says nothing more', async () => {
    const started = join(clone, 'npm-started');
    program('npm', `trap '' TERM; touch '${started}'; while :; do sleep 0.1; done`);
    const child = spawn(process.execPath, [join(clone, 'cli', 'bootstrap.mjs'), 'setup'], { env });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    while (!existsSync(started)) await sleep(20);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [143, null]);
    assert.equal(stderr, '');
    assert.deepEqual(readdirSync(join(clone, '.reverie')), []);
  });
});
