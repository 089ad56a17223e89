import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listGpus, visibleGpus } from '../../../workers/gpus.ts';

const LISTED =
  'GPU-3f1c-1, 0, 81920, NVIDIA H100 80GB HBM3\nGPU-7a20-2, 1, 24576, NVIDIA GeForce RTX 4090\nGPU-7b31-3, 2, 24576, NVIDIA GeForce RTX 4090\n';

test("reads names and memory from nvidia-smi's lines", () => {
  assert.deepEqual(visibleGpus(LISTED, undefined).slice(0, 2), [
    { device: '0', name: 'NVIDIA H100 80GB HBM3', memoryGib: 80 },
    { device: '1', name: 'NVIDIA GeForce RTX 4090', memoryGib: 24 },
  ]);
  assert.deepEqual(visibleGpus('GPU-1, 0, [N/A], NVIDIA GB10\n', undefined), [
    { device: '0', name: 'NVIDIA GB10', memoryGib: null },
  ]);
  assert.deepEqual(visibleGpus('No devices were found\n', undefined), []);
});

test('a worker sees the GPUs that CUDA_VISIBLE_DEVICES leaves it, as CUDA reads it', () => {
  for (const [visible, devices] of [
    [undefined, ['0', '1', '2']],
    ['2,0', ['2', '0']],
    [' 1 , 2', ['1', '2']],
    ['GPU-7a', ['GPU-7a']],
    ['GPU-7b31-3,GPU-3', ['GPU-7b31-3', 'GPU-3']],
    ['0,9,1', ['0']],
    ['0,-1,1', ['0']],
    ['0,GPU-,1', ['0']],
    ['MIG-8c5d', ['MIG-8c5d']],
    ['', []],
    ['-1', []],
  ] as const) {
    const seen = visibleGpus(LISTED, visible).map(({ device }) => device);
    assert.deepEqual(seen, devices, `CUDA_VISIBLE_DEVICES=${visible}`);
  }
  assert.equal(visibleGpus(LISTED, 'GPU-7a')[0]?.memoryGib, 24);
});

test('asks nobody where all are hidden', async () => {
  assert.deepEqual(await listGpus(''), []);
  assert.deepEqual(await listGpus('-1'), []);
});
