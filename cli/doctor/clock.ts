/**
 * The server's clock. No call tells it, but the server notes when a queue was last polled: so poll one of our own, and
 * read what it noted.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import { optionalTsToMs } from '@temporalio/common/lib/time.js';
import proto from '@temporalio/proto';

/** The server warns of shorter long polls; this one is cut off long before. */
const POLL_MS = 25_000;
const TRIES = 20;
const TRY_EVERY_MS = 50;

/**
 * How far our clock is surely ahead of the server's (behind, when negative): 0 when what it noted lies between asking
 * and hearing. Null when it did not tell.
 */
export async function measureClockSkewMs(connection: Connection, namespace: string): Promise<number | null> {
  const queue = { name: `reverie-doctor-${randomUUID()}` };
  const abort = new AbortController();
  const pollSentAtMs = Date.now();
  const poll = connection
    .withDeadline(Date.now() + POLL_MS, () =>
      connection.withAbortSignal(abort.signal, () =>
        connection.workflowService.pollActivityTaskQueue({ namespace, taskQueue: queue, identity: 'reverie doctor' }),
      ),
    )
    .catch(() => undefined); // Cut off below, when it has served.
  try {
    for (let tried = 0; tried < TRIES; tried++) {
      await sleep(TRY_EVERY_MS);
      const { pollers } = await connection.workflowService.describeTaskQueue({
        namespace,
        taskQueue: queue,
        taskQueueType: proto.temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
      });
      const notedAtMs = optionalTsToMs(pollers?.[0]?.lastAccessTime);
      if (notedAtMs !== undefined) return Math.max(0, pollSentAtMs - notedAtMs) + Math.min(0, Date.now() - notedAtMs);
    }
    return null;
  } catch {
    return null;
  } finally {
    abort.abort();
    await poll;
  }
}
