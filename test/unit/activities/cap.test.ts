import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCap } from '../../../activities/cap.ts';
import { ReverieFailure } from '../../../contracts/failures.ts';
import { specOf } from '../../fixtures/run-spec.ts';

const policy = specOf({ policy: { maxGpuHours: 1, phaseDeadlineSeconds: { save: 77 } } }).policy;
const preempted = new ReverieFailure('Preempted', 'stopped', { step: 3 });

function capAt(gpuSeconds: number, gpus = 1) {
  const work = new AbortController();
  const cap = startCap({ policy, gpuSeconds, gpus, signal: work.signal, graceSeconds: () => 5 });
  return { cap, work };
}

test('stops the trainer when the cap is used up, with all the time that a save may take', async () => {
  const { cap } = capAt(3599.8, 4);
  assert.deepEqual([cap.signal.aborted, cap.graceSeconds()], [false, 5]);
  await sleep(100);
  assert.deepEqual([cap.signal.aborted, cap.graceSeconds()], [true, 77]);
  assert.match(String(cap.explain(preempted)), /has used its 1 GPU-hours; expected .* Raise the cap/);
  const crash = new Error('something else');
  assert.equal(cap.explain(crash), crash);
});

test('leaves a preemption what it is', async () => {
  const { cap, work } = capAt(3599.9);
  work.abort();
  await sleep(150);
  assert.deepEqual([cap.signal.aborted, cap.graceSeconds()], [true, 5]);
  assert.equal(cap.explain(preempted), preempted);
});

test('refuses work where nothing is left, and lets it be where there is no GPU to pay for', () => {
  assert.throws(() => capAt(3600), { type: 'CapReached', details: { maxGpuHours: 1 } });
  const { cap } = capAt(3600, 0);
  assert.equal(cap.signal.aborted, false);
  const far = startCap({
    ...{ policy: { ...policy, maxGpuHours: 1e6 }, gpuSeconds: 0, gpus: 1 },
    signal: cap.signal,
    graceSeconds: () => 5,
  });
  assert.equal(far.signal.aborted, false, 'a timer too long for Node does not fire at once');
  far.clear();
});
