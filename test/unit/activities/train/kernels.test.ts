import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { openStore } from '../../../../activities/store/open-store.ts';
import type { Store } from '../../../../activities/store/store.ts';
import { Kernels } from '../../../../activities/train/kernels.ts';
import { trainerSpec } from '../../../../activities/train/trainer-spec.ts';
import { runSpecSchema } from '../../../../contracts/run-spec.ts';
import { python } from '../../../fixtures/python.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';
import { tinyConfig } from '../../../fixtures/tiny-model.ts';

const { skip } = python;

/** Hosts that share a store; each call of `open` is a host that has nothing yet. */
async function hosts(t: TestContext) {
  const root = await scratchFolder(t);
  const modelDir = join(root, 'model');
  await mkdir(modelDir);
  await writeFile(join(modelDir, 'config.json'), tinyConfig());
  const told: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void told.push(JSON.parse(line).msg) });
  const store = openStore(`file://${root}/store`);
  let number = 0;
  type Over = { secret?: string | null; gpu?: string; store?: Store; microBatchSize?: number; python?: string };
  const open = (over: Over = {}) => {
    const spec = runSpecSchema.parse({ train: { microBatchSize: over.microBatchSize ?? 2 } });
    const deps = {
      ...{ store: over.store ?? store, cacheDir: join(root, `host-${number++}`), ranks: 1, log },
      ...{ gpuModels: [over.gpu ?? 'NVIDIA H100'], kernelsSecret: over.secret === undefined ? 'ours' : over.secret },
      python: over.python ?? python.path,
    };
    const rest = { trainKey: 'key', modelDir, filteredDir: root, resumeFrom: null, leaveOutSteps: [] };
    return Kernels.open(deps, trainerSpec({ spec, ...rest }));
  };
  const stored = () => readdir(join(root, 'store', 'kernels')).catch(() => []);
  return { open, stored, told, root };
}

/** As the trainer does. */
async function compiled(kernels: Kernels, bytes: string): Promise<void> {
  await mkdir(dirname(kernels.file), { recursive: true });
  await writeFile(kernels.file, bytes);
}

test('what one host compiled serves another that knows the secret, whose training has the same kernels', {
  skip,
}, async (t) => {
  const { open, stored, told } = await hosts(t);
  const first = await open();
  assert.equal(await first.exist(), false);
  await first.share();
  assert.deepEqual(await stored(), [], 'nothing is there to share');
  await compiled(first, 'code');
  await first.share();
  const second = await open();
  assert.equal(await readFile(second.file, 'utf8'), 'code');
  assert.equal(await (await open({ gpu: 'NVIDIA A100' })).exist(), false);
  assert.equal(await (await open({ microBatchSize: 1 })).exist(), false);

  await compiled(second, 'more code');
  await second.share();
  assert.equal(await readFile((await open()).file, 'utf8'), 'more code');
  assert.deepEqual(told, []);
});

test('kernels are not opened that were sealed by another secret, changed, or brought from another key', {
  skip,
}, async (t) => {
  const { open, stored, told, root } = await hosts(t);
  const first = await open();
  await compiled(first, 'code');
  await first.share();
  assert.equal(await (await open({ secret: 'theirs' })).exist(), false);

  const [name = ''] = await stored();
  const object = join(root, 'store', 'kernels', name);
  const sealed = await readFile(object);
  const changed = Buffer.from(sealed);
  changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
  for (const bytes of [changed, sealed.subarray(0, 10)]) {
    await writeFile(object, bytes);
    assert.equal(await (await open()).exist(), false);
  }
  await writeFile(object, sealed);
  const other = await open({ microBatchSize: 1 });
  await compiled(other, 'other');
  await other.share();
  await writeFile(
    object,
    await readFile(join(root, 'store', 'kernels', (await stored()).find((file) => file !== name) ?? '')),
  );
  assert.equal(await (await open()).exist(), false);
  assert.equal(told.filter((line) => /without the seal of REVERIE_KERNELS_SECRET are not opened/.test(line)).length, 4);
});

test('without a secret a host keeps its kernels to itself, and opens none', { skip }, async (t) => {
  const { open, stored } = await hosts(t);
  const alone = await open({ secret: null });
  await compiled(alone, 'code');
  await alone.share();
  assert.deepEqual(await stored(), []);
  const shared = await open();
  await compiled(shared, 'code');
  await shared.share();
  assert.equal((await stored()).length, 1);
  assert.equal(await (await open({ secret: null })).exist(), false);
});

test('an interpreter that does not start is left to the trainer to tell of', async (t) => {
  const { open, told } = await hosts(t);
  assert.equal(await (await open({ python: '/nowhere/python' })).exist(), false);
  assert.deepEqual(told, []);
});

test('a store that is away costs the time to compile, and no more', { skip }, async (t) => {
  const { open, told } = await hosts(t);
  const away = async (): Promise<never> => {
    throw new Error('away');
  };
  const kernels = await open({ store: { url: 's3://away', get: away, put: away } as unknown as Store });
  await compiled(kernels, 'code');
  await kernels.share();
  assert.deepEqual(told, [
    'compiled kernels could not be fetched; training goes on without',
    'compiled kernels could not be shared; training goes on without',
  ]);
});
