/** Reads an activity's error by its type, never by its message. */
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';
import { isFailureType } from '../contracts/failures.ts';
import type { StageFailure } from './decisions.ts';

export function failureOf(error: unknown): StageFailure {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isFailureType(cause.type)) {
    const details = (cause.details?.[0] ?? {}) as Record<string, unknown>;
    return { type: cause.type, message: cause.message, details };
  }
  if (cause instanceof TimeoutFailure) {
    return { type: null, message: `The activity timed out (${cause.timeoutType}): ${cause.message}`, details: {} };
  }
  return { type: null, message: cause instanceof Error ? cause.message : String(cause), details: {} };
}

/** The run's own failure: one type for each way in which it can end, a reason that reads well in the UI. */
export function runFailure(type: string, message: string): ApplicationFailure {
  const failure = ApplicationFailure.create({ type, message, nonRetryable: true });
  // The UI prints it under the reason; where in this code a refusal was written tells its reader nothing.
  delete failure.stack;
  return failure;
}
