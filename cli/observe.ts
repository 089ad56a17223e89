/** What a run looks like now: its `status`, and the live figures in the heartbeats of its pending activities. */
import { type Client, defaultPayloadConverter, type WorkflowHandle } from '@temporalio/client';
import type { HeartbeatDetails, RunStatus } from '../contracts/workflow-api.ts';
import { isSilence } from './nobody-answers.ts';

export interface Observation {
  status: RunStatus;
  /** Of activities on GPU workers, by stage. */
  live: HeartbeatDetails[];
  /** running, completed, failed, … as Temporal says. */
  execution: string;
}

/** Throws when the server does not answer, or no worker does. */
export async function look(client: Client, workflowId: string, runId?: string): Promise<Observation> {
  const handle: WorkflowHandle = client.workflow.getHandle(workflowId, runId);
  const [status, description] = await Promise.all([handle.query<RunStatus>('status'), handle.describe()]);
  const live = (description.raw.pendingActivities ?? []).flatMap(({ heartbeatDetails }) => {
    const payload = heartbeatDetails?.payloads?.[0];
    const details = payload ? defaultPayloadConverter.fromPayload<Partial<HeartbeatDetails>>(payload) : {};
    return typeof details.stage === 'string' ? [details as HeartbeatDetails] : [];
  });
  return { status, live, execution: description.status.name.toLowerCase() };
}

/** As `look`, but null while no worker answers. */
export async function observe(client: Client, workflowId: string, runId?: string): Promise<Observation | null> {
  return look(client, workflowId, runId).catch((error: unknown) => {
    if (isSilence(error)) return null;
    throw error;
  });
}
