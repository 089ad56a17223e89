/** Failures on their way into Temporal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure, ApplicationFailureCategory, CancelledFailure } from '@temporalio/common';
import { asActivities, asActivityFailure } from '../../../activities/failure.ts';
import { ReverieFailure } from '../../../contracts/failures.ts';

test('a failure keeps its type, message and details, and goes to the workflow at once', () => {
  const details = { phase: 'train', microBatchSize: 4, step: 7 };
  const failure = asActivityFailure(new ReverieFailure('OutOfMemory', 'out of memory', details));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.type, 'OutOfMemory');
  assert.equal(failure.message, 'out of memory');
  assert.deepEqual(failure.details, [details]);
  assert.equal(failure.nonRetryable, true);
});

test('a preemption is left to Temporal, and is no error in the log', () => {
  const failure = asActivityFailure(new ReverieFailure('Preempted', 'notice', { step: 7 }));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.nonRetryable, false);
  assert.equal(failure.category, ApplicationFailureCategory.BENIGN);
});

test('a full disk is named, whatever wrote to it', () => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    path: '/cache/x',
  });
  const failure = asActivityFailure(error) as ApplicationFailure;
  assert.equal(failure.type, 'DiskFull');
  assert.deepEqual(failure.details, [{ path: '/cache/x' }]);
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
