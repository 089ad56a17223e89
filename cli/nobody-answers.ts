/** Asking a run something that a CPU worker has to answer: bounded, and with a hint where none does. */
import { type Client, ServiceError, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client';
import { NotReachable } from '../workers/connect.ts';

/**
 * gRPC's status codes for a call that took too long, as the client tells it or, where the server's clock was first, as
 * a stream that it cancelled; and for a query that no worker polls for.
 */
const SILENCE: readonly unknown[] = [4, 1, 9];

/** Throws NotReachable where nobody has answered within the deadline; everything else as it came. */
export async function ask<T>(
  client: Client,
  run: string,
  deadlineSeconds: number,
  question: () => Promise<T>,
): Promise<T> {
  try {
    return await client.withDeadline(Date.now() + deadlineSeconds * 1000, question);
  } catch (error) {
    if (!isSilence(error)) throw error;
    throw new NotReachable(
      `Nobody answers for run ${run} within ${deadlineSeconds} s; expected a CPU worker on its queue; start one with \`reverie worker cpu\` (or \`reverie up\`), or look at the run in the UI.`,
      { cause: error },
    );
  }
}

export function isSilence(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  if (!(error instanceof ServiceError)) return false;
  return SILENCE.includes((error.cause as { code?: number } | undefined)?.code);
}
