import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGpus } from '../../../workers/gpus.ts';

test("reads names and memory from nvidia-smi's lines", () => {
  assert.deepEqual(parseGpus('81920, NVIDIA H100 80GB HBM3\n24576, NVIDIA GeForce RTX 4090\n'), [
    { name: 'NVIDIA H100 80GB HBM3', memoryGib: 80 },
    { name: 'NVIDIA GeForce RTX 4090', memoryGib: 24 },
  ]);
});

test('leaves out a GPU whose memory has no figure, and text that lists none', () => {
  assert.deepEqual(parseGpus('[N/A], NVIDIA GB10\n'), []);
  assert.deepEqual(parseGpus('No devices were found\n'), []);
});
