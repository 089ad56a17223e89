/** Holds a new try back, for as long as its verdict says, without a timer of the workflow. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common';
import type { HoldBack } from '../contracts/workflow-api.ts';

/**
 * At the first attempt of an activity that has to wait: throws at once, and Temporal begins the next one after the wait.
 * A timer would cost five events of history, and the UI could not show the try that waits. No worker's slot is held.
 * What waited in the queue for so long already goes on, since it would come to the queue's end again.
 */
export async function holdBack({ waitSeconds }: HoldBack): Promise<void> {
  if (Context.current().info.attempt > 1) return;
  const restMs = Math.ceil(1000 * waitSeconds - (await queuedMs()));
  if (restMs <= 0) return;
  throw ApplicationFailure.create({
    type: 'HeldBack',
    message: `Not a failure: the run's details say what went wrong before. It is tried again after a wait of ${waitSeconds} s.`,
    nextRetryDelay: restMs,
    category: ApplicationFailureCategory.BENIGN,
  });
}

/** Both times are the server's, since clocks of hosts differ. Nothing is known where it does not answer. */
async function queuedMs(): Promise<number> {
  const { client, info } = Context.current();
  const { workflowId = '', runId } = info.workflowExecution ?? {};
  const description = await client.workflow
    .getHandle(workflowId, runId)
    .describe()
    .catch(() => null);
  const started = description?.raw.pendingActivities?.find(({ activityId }) => activityId === info.activityId);
  const { seconds, nanos } = started?.lastStartedTime ?? {};
  if (seconds == null) return 0;
  return Math.max(0, 1000 * Number(seconds) + (nanos ?? 0) / 1e6 - info.scheduledTimestampMs);
}
