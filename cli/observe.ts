/** What a run looks like now: its `status`, and the live figures in the heartbeats of its pending activities. */
import { type Client, defaultPayloadConverter, type WorkflowHandle } from '@temporalio/client';
import type { HeartbeatDetails, RunStatus } from '../contracts/workflow-api.ts';

export interface Observation {
  status: RunStatus;
  /** Of activities on GPU workers, by stage. */
  live: HeartbeatDetails[];
  /** running, completed, failed, … as Temporal says. */
  execution: string;
}

/** Throws when the server does not answer; status is null while no worker has answered yet. */
export async function observe(client: Client, workflowId: string, runId?: string): Promise<Observation | null> {
  const handle: WorkflowHandle = client.workflow.getHandle(workflowId, runId);
  const [status, description] = await Promise.all([
    handle.query<RunStatus>('status').catch(() => null),
    handle.describe(),
  ]);
  if (status === null) return null;
  const live = (description.raw.pendingActivities ?? []).flatMap(({ heartbeatDetails }) => {
    const payload = heartbeatDetails?.payloads?.[0];
    const details = payload ? defaultPayloadConverter.fromPayload<Partial<HeartbeatDetails>>(payload) : {};
    return typeof details.stage === 'string' ? [details as HeartbeatDetails] : [];
  });
  return { status, live, execution: description.status.name.toLowerCase() };
}
