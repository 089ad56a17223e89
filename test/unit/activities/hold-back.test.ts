/** A try that holds itself back; what Temporal makes of it is in test/workflows/verdicts.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '@temporalio/client';
import { ApplicationFailureCategory } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { holdBack } from '../../../activities/hold-back.ts';

// The server's clock, which is not this host's.
const SCHEDULED_MS = Date.parse('2036-11-24T03:04:05Z');

/** The wait that an attempt asks for, or null where it goes on; the server says when it started, or does not answer. */
async function waitOf(attempt: number, startedMs: number | null): Promise<number | null> {
  const describe = async () => {
    if (startedMs === null) throw new Error('nobody answers');
    const lastStartedTime = { seconds: Math.floor(startedMs / 1000), nanos: (startedMs % 1000) * 1e6 };
    return { raw: { pendingActivities: [{ activityId: 'other' }, { activityId: '7', lastStartedTime }] } };
  };
  const client = {
    workflow: { getHandle: () => ({ describe }) },
    withAbortSignal: <T>(_: AbortSignal, work: () => Promise<T>) => work(),
  } as unknown as Client;
  const info = { attempt, activityId: '7', scheduledTimestampMs: SCHEDULED_MS };
  const environment = new MockActivityEnvironment(info, { client, logger: new DefaultLogger('ERROR') });
  try {
    await environment.run(() => holdBack({ waitSeconds: 10 }));
    return null;
  } catch (error) {
    const { type, nextRetryDelay, nonRetryable, category } = error as Record<string, unknown>;
    assert.deepEqual([type, nonRetryable, category], ['HeldBack', false, ApplicationFailureCategory.BENIGN]);
    return Number(nextRetryDelay);
  }
}

test('the first attempt asks for the wait, and the second goes on', async () => {
  assert.equal(await waitOf(1, SCHEDULED_MS), 10_000);
  assert.equal(await waitOf(2, SCHEDULED_MS), null);
});

test('time in the queue is part of the wait', async () => {
  assert.equal(await waitOf(1, SCHEDULED_MS + 4_250), 5_750);
  assert.equal(await waitOf(1, SCHEDULED_MS + 10_000), null);
});

test('waits where the server does not say how long it was in the queue', async () => {
  assert.equal(await waitOf(1, null), 10_000);
});
