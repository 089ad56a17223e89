/** Failures on their way into Temporal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure, ApplicationFailureCategory, CancelledFailure } from '@temporalio/common';
import { asActivities, asActivityFailure, retryDelayMs } from '../../../activities/failure.ts';
import { ReverieFailure } from '../../../contracts/failures.ts';

test('a failure keeps its type, message and details, and goes to the workflow at once', () => {
  const details = { phase: 'train', microBatchSize: 4, step: 7 };
  const failure = asActivityFailure(new ReverieFailure('OutOfMemory', 'out of memory', details));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.type, 'OutOfMemory');
  assert.equal(failure.message, 'out of memory');
  const [{ at, ...told } = { at: '' }] = (failure.details ?? []) as (typeof details & { at: string })[];
  assert.deepEqual(told, details);
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000, at);
  assert.equal(failure.nonRetryable, true);
});

test('a preemption is left to Temporal, and is no error in the log', () => {
  const failure = asActivityFailure(new ReverieFailure('Preempted', 'notice', { step: 7 }));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.nonRetryable, false);
  assert.equal(failure.category, ApplicationFailureCategory.BENIGN);
});

test('each preemption waits as long as its cause asks, and no other failure says how long', () => {
  const preempted = (details: { step: number | null; killed?: boolean }): ReverieFailure =>
    new ReverieFailure('Preempted', 'x', details);
  assert.equal(retryDelayMs(preempted({ step: 7 })), 1, 'on notice or shutdown another worker may be free');
  assert.equal(
    retryDelayMs(preempted({ step: 7, killed: true })),
    1000,
    'a killed trainer lets go of its device first',
  );
  assert.equal(retryDelayMs(new ReverieFailure('TrainerHung', 'x', { phase: 'save', seconds: 9, step: 1 })), null);
  const failure = asActivityFailure(preempted({ step: 7 })) as ApplicationFailure;
  assert.equal(failure.nextRetryDelay, 1);
});

test('a full disk is named, whatever wrote to it', () => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    path: '/cache/x',
  });
  const failure = asActivityFailure(error) as ApplicationFailure;
  assert.equal(failure.type, 'DiskFull');
  const [details] = (failure.details ?? []) as { path: string }[];
  assert.equal(details?.path, '/cache/x');
});

test('cancellations, failures of Temporal and unknown errors pass as they are', () => {
  const abort = Object.assign(new Error('aborted'), { name: 'AbortError' });
  for (const error of [
    new CancelledFailure('c'),
    ApplicationFailure.create({ type: 'x' }),
    abort,
    new TypeError('bug'),
  ]) {
    assert.equal(asActivityFailure(error), error);
  }
  assert.equal(asActivityFailure('text').message, 'text');
});

test('wrapped functions answer as before and fail in Temporal terms', async () => {
  const activities = asActivities({
    double: async ({ n }: { n: number }) => n * 2,
    fail: async (_: { uri: string }) => {
      throw new ReverieFailure('ArtifactMissing', 'gone', { uri: 'u' });
    },
  });
  assert.equal(await activities.double({ n: 2 }), 4);
  await assert.rejects(activities.fail({ uri: 'u' }), { type: 'ArtifactMissing', nonRetryable: true });
});
