import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Check } from '../../../cli/doctor/check.ts';
import { measureClockSkewMs } from '../../../cli/doctor/clock.ts';
import { checkTrainer } from '../../../cli/doctor/programs.ts';
import { checkDisk, checkStore } from '../../../cli/doctor/storage.ts';
import { checkTemporalServer } from '../../../cli/doctor/temporal.ts';
import { findTemporal } from '../../../cli/setup/temporal.mjs';
import { python } from '../../fixtures/python.ts';

const temporal = await findTemporal();

function check(checks: Check[], name: string): Check {
  const found = checks.find((one) => one.name === name);
  assert.ok(found, `no line ${name} among ${checks.map((one) => one.name).join(', ')}`);
  return found;
}

describe('on a new server', { skip: temporal ? false : 'no Temporal CLI; run `node cli/bootstrap.mjs setup`' }, () => {
  let server: TestWorkflowEnvironment;
  before(async () => {
    server = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'existing-path', path: temporal ?? '' } },
    });
    process.env.TEMPORAL_ADDRESS = server.address;
  });
  after(async () => {
    delete process.env.TEMPORAL_ADDRESS;
    await server.teardown();
  });

  test('names the missing search attributes, creates them when told to, and is content then', async () => {
    const found = check(await checkTemporalServer({ fix: false }), 'search attributes');
    assert.equal(found.status, 'fail');
    assert.match(found.found, /ReverieStage.*ReverieAccuracy.* missing$/);
    assert.match(found.remedy ?? '', /--fix/);

    assert.match(check(await checkTemporalServer({ fix: true }), 'search attributes').found, /^created /);
    assert.equal(check(await checkTemporalServer({ fix: false }), 'search attributes').status, 'ok');
  });

  test('warns that nobody works, and how to start workers', async () => {
    const checks = await checkTemporalServer({ fix: false });
    for (const [queue, role] of [
      ['reverie', 'cpu'],
      ['reverie-gpu', 'gpu'],
    ] as const) {
      const workers = check(checks, `workers on ${queue}`);
      assert.equal(workers.status, 'warn');
      assert.match(workers.remedy ?? '', new RegExp(`run worker ${role}`));
    }
  });

  test("reads the server's clock", async () => {
    const skewMs = await measureClockSkewMs(server.connection, 'default');
    assert.ok(skewMs !== null && Math.abs(skewMs) < 100, `${skewMs} ms on one machine`);
  });

  test('stops at a namespace that does not exist', async () => {
    process.env.TEMPORAL_NAMESPACE = 'nowhere';
    try {
      const checks = await checkTemporalServer({ fix: false });
      assert.deepEqual(
        checks.map(({ name, status }) => [name, status]),
        [
          ['Temporal server', 'ok'],
          ['namespace', 'fail'],
        ],
      );
    } finally {
      delete process.env.TEMPORAL_NAMESPACE;
    }
  });
});

test('says how to start a server where none answers', async () => {
  process.env.TEMPORAL_ADDRESS = '127.0.0.1:1';
  try {
    const checks = await checkTemporalServer({ fix: false });
    assert.equal(checks.length, 1);
    const server = check(checks, 'Temporal server');
    assert.equal(server.status, 'fail');
    assert.match(server.found, /127\.0\.0\.1:1/);
    assert.match(server.remedy ?? '', /run up/);
  } finally {
    delete process.env.TEMPORAL_ADDRESS;
  }
});

describe('storage', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reverie-doctor-'));
  });
  after(() => rm(dir, { recursive: true }));

  test('finds a folder writable and its conditional writes honoured', async () => {
    const checks = await checkStore(`file://${dir}/store`);
    assert.deepEqual(
      checks.map(({ status }) => status),
      ['ok', 'ok'],
    );
  });

  test('fails on a store that cannot be written, and on an address of no known form', async () => {
    await writeFile(join(dir, 'file'), '');
    for (const url of [`file://${dir}/file/store`, 'ftp://host/store']) {
      const [store, ...more] = await checkStore(url);
      assert.equal(more.length, 0);
      assert.equal(store?.status, 'fail');
      assert.match(store.remedy ?? '', /REVERIE_STORE/);
    }
  });

  test('measures the disk of a cache folder that does not exist yet', async () => {
    assert.match((await checkDisk(join(dir, 'not', 'yet'))).found, /^\d+ GB free for /);
  });
});

describe('the trainer', () => {
  test('is asked for its versions and devices', { skip: python.skip }, async () => {
    const checks = await checkTrainer(python.path);
    assert.equal(check(checks, 'Python').status, 'ok');
    assert.match(check(checks, 'PyTorch').found, /^\d+\.\d+/);
    assert.ok(checks.some(({ name }) => name.startsWith('GPU')));
  });

  const gpu = { name: 'NVIDIA H100', memoryBytes: 80 * 2 ** 30, product: 'right' };
  const other = { ...gpu, name: 'NVIDIA A100' };
  for (const { title, cudaVersion, gpus, listed, visible, status, found } of [
    {
      title: 'a driver that PyTorch cannot use',
      cudaVersion: '13.0',
      gpus: [],
      listed: true,
      status: 'fail',
      found: /NVIDIA H100, which this/,
    },
    {
      title: 'a PyTorch for CPUs beside a GPU',
      cudaVersion: null,
      gpus: [],
      listed: true,
      status: 'warn',
      found: /NVIDIA H100, which this/,
    },
    {
      title: 'GPUs that are hidden on purpose',
      cudaVersion: '13.0',
      gpus: [],
      listed: true,
      visible: '',
      status: 'warn',
      found: /^none$/,
    },
    { title: 'no driver', cudaVersion: '13.0', gpus: [], listed: false, status: 'warn', found: /^none$/ },
    {
      title: 'GPUs of two models',
      cudaVersion: '13.0',
      gpus: [gpu, other],
      listed: true,
      status: 'warn',
      found: /^NVIDIA H100 and NVIDIA A100, which do not/,
    },
  ]) {
    test(`of a host with ${title} is told`, async (t) => {
      const bin = await mkdtemp(join(tmpdir(), 'reverie-doctor-'));
      const { PATH, CUDA_VISIBLE_DEVICES } = process.env;
      t.after(async () => {
        Object.assign(process.env, { PATH });
        if (CUDA_VISIBLE_DEVICES === undefined) delete process.env.CUDA_VISIBLE_DEVICES;
        else Object.assign(process.env, { CUDA_VISIBLE_DEVICES });
        await rm(bin, { recursive: true });
      });
      const answer = {
        python: '3.12.1',
        torch: '2.11.0',
        transformers: null,
        cudaVersion,
        gpus,
        cpu: { product: 'right' },
      };
      const script = (name: string, says: string): Promise<void> =>
        writeFile(join(bin, name), `#!/bin/sh\n${says}\n`, { mode: 0o755 });
      await script('python', `echo '${JSON.stringify(answer)}'`);
      await script('nvidia-smi', listed ? 'echo "GPU-1, 0, 81559, NVIDIA H100"' : 'exit 9');
      process.env.PATH = `${bin}:${PATH}`;
      if (visible === undefined) delete process.env.CUDA_VISIBLE_DEVICES;
      else process.env.CUDA_VISIBLE_DEVICES = visible;
      const line = check(await checkTrainer(join(bin, 'python')), 'GPUs');
      assert.equal(line.status, status);
      assert.match(line.found, found);
    });
  }

  test('that does not run says why and what to do', async () => {
    const [trainer] = await checkTrainer('/nowhere/python');
    assert.equal(trainer?.status, 'fail');
    assert.match(trainer.found, /^\/nowhere\/python does not run it: .*ENOENT/);
    assert.match(trainer.remedy ?? '', /REVERIE_PYTHON/);
  });
});
