/** What a running activity knows of itself, and its line to the workflow: the Temporal side of long activities. */
import { randomBytes } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { Progress } from '../contracts/workflow-api.ts';
import type { Execution } from './gpu-deps.ts';

export function execution(): Execution {
  const { workflowExecution, attempt } = Context.current().info;
  if (!workflowExecution)
    throw new TypeError('this activity was started without a workflow; expected the workflow fineTune');
  // In order of time by name, for people who look into the store.
  const attemptPrefix = `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${randomBytes(4).toString('hex')}`;
  return { workflowId: workflowExecution.workflowId, attempt, attemptPrefix };
}

/** Measures under the activity's own tags. */
export const metricMeter = () => Context.current().metricMeter;

/** Sends progress notes to the workflow; one that does not arrive is only a note. */
export function noteTo(log: Logger): (progress: Progress) => void {
  const { client, info } = Context.current();
  const { workflowId, runId } = info.workflowExecution ?? { workflowId: '', runId: '' };
  const handle = client.workflow.getHandle(workflowId, runId);
  return (progress) => {
    handle.signal('progress', progress).catch((err: unknown) => log.debug({ err }, 'progress note not delivered'));
  };
}
