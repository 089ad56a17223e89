import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { checkNode, packagesAreCurrent } from '../../../../cli/setup/node.mjs';
import { root } from '../../../../cli/setup/paths.mjs';
import { checkNamedPython } from '../../../../cli/setup/python.mjs';
import { isNewEnough } from '../../../../cli/setup/temporal.mjs';

test('accepts Node 20.19 and later, and says what is too old', () => {
  for (const version of ['20.19.0', '20.20.2', '22.1.0', '24.0.0']) checkNode(version);
  for (const version of ['18.20.4', '20.9.0']) {
    assert.throws(() => checkNode(version), {
      message: new RegExp(`^Node\\.js is ${version}; expected 20\\.19 or later; install`),
    });
  }
});

test('accepts a Temporal CLI of 1.7 and later', () => {
  for (const version of ['1.7.0', '1.10.1', '2.0.0'])
    assert.ok(isNewEnough(`temporal version ${version} (Server 1.31.0)`));
  for (const text of ['temporal version 1.6.9 (Server 1.29.0)', 'temporal version 0.13.0', '', 'no such command']) {
    assert.ok(!isNewEnough(text), text);
  }
});

test('refuses a named Python that does not run, or that lacks what the trainer imports', async () => {
  await assert.rejects(checkNamedPython('/nowhere/python', { tests: false }), {
    message:
      /^REVERIE_PYTHON names \/nowhere\/python, which does not run .*; expected a Python interpreter; correct the path/,
  });
});

describe('the npm packages', () => {
  let dir: string;
  const write = async (lock: object, installed: object | null) => {
    await rm(join(dir, 'node_modules'), { recursive: true, force: true });
    await writeFile(join(dir, 'package-lock.json'), JSON.stringify({ packages: lock }));
    if (installed === null) return;
    await mkdir(join(dir, 'node_modules'));
    await writeFile(join(dir, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: installed }));
  };
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reverie-packages-'));
  });
  after(() => rm(dir, { recursive: true }));

  const a = { version: '1.0.0', integrity: 'sha512-a' };

  test('are current when npm recorded each of the lock', async () => {
    await write({ '': { version: '0' }, 'node_modules/a': a }, { 'node_modules/a': a });
    assert.ok(packagesAreCurrent(dir));
  });

  test('are not when there are none, or one is missing, of another version or of other bytes', async () => {
    for (const installed of [
      null,
      {},
      { 'node_modules/a': { ...a, version: '1.0.1' } },
      { 'node_modules/a': { ...a, integrity: 'sha512-b' } },
    ]) {
      await write({ 'node_modules/a': a }, installed);
      assert.ok(!packagesAreCurrent(dir), JSON.stringify(installed));
    }
  });

  test('may lack optional ones, which are for other platforms', async () => {
    await write(
      { 'node_modules/a': a, 'node_modules/b': { version: '2.0.0', optional: true } },
      { 'node_modules/a': a },
    );
    assert.ok(packagesAreCurrent(dir));
  });
});

test('the npm lock names every optional package, without which `npm ci` refuses it', async () => {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      assert.ok(
        packages[`node_modules/${name}`] ?? packages[`${path}/node_modules/${name}`],
        `${name}, optional for ${path}, is not in package-lock.json: it was written where the registry lacks packages for other platforms; put its entry back`,
      );
    }
  }
});
