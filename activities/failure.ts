/** The one place where the domain's failures become Temporal's: same type, same message, details beside it. */
import { ApplicationFailure, ApplicationFailureCategory, TemporalFailure } from '@temporalio/common';
import { isReverieFailure, type ReverieFailure } from '../contracts/failures.ts';
import type { HoldBack } from '../contracts/workflow-api.ts';
import { holdBack } from './hold-back.ts';
import { asDiskFull } from './store/disk-full.ts';

/**
 * Only Preempted is left to Temporal's own retries, which cost no history; every other type goes to the workflow,
 * whose verdicts count budgets per cause. Cancellations pass through, and so do errors that nobody has named: those
 * follow the activity's retry policy.
 */
export function asActivityFailure(error: unknown): Error {
  if (error instanceof TemporalFailure || (error instanceof Error && error.name === 'AbortError')) return error;
  const failure = isReverieFailure(error) ? error : asDiskFull(error, pathOf(error));
  if (failure === null) return error instanceof Error ? error : new Error(String(error));
  const preempted = failure.type === 'Preempted';
  const nextRetryDelay = retryDelayMs(failure);
  return ApplicationFailure.create({
    type: failure.type,
    message: failure.message,
    nonRetryable: !preempted,
    // A workflow cannot tell otherwise when it happened.
    details: [{ ...failure.details, at: new Date().toISOString() }],
    // Expected on preemptible hosts: no error in the worker's log or metrics.
    ...(preempted && { category: ApplicationFailureCategory.BENIGN }),
    ...(nextRetryDelay !== null && { nextRetryDelay }),
    ...(failure.cause instanceof Error && { cause: failure.cause }),
  });
}

/** The server takes a wait of nothing for the end of all retries. */
const AT_ONCE_MS = 1;
/** Time for the kernel to take back what killed processes held, the device's memory first of all. */
const AFTER_KILL_MS = 1_000;

/**
 * How long Temporal waits before its own next attempt; null leaves it to the retry policy, whose waits grow with every
 * attempt that a long training has seen. After a notice another worker may be free this moment; where the trainer alone
 * was killed, the same one is. A worker that died could not say.
 */
export function retryDelayMs({ type, details }: ReverieFailure): number | null {
  if (type !== 'Preempted') return null;
  return 'killed' in details && details.killed === true ? AFTER_KILL_MS : AT_ONCE_MS;
}

/** Wraps the functions that a `create…Activities` returns, so that each waits and fails in Temporal's terms. */
export function asActivities<T extends Record<string, (input: never) => Promise<unknown>>>(functions: T): T {
  const wrap =
    (run: (input: never) => Promise<unknown>) =>
    async (input: never, wait?: HoldBack): Promise<unknown> => {
      if (wait !== undefined) await holdBack(wait);
      try {
        return await run(input);
      } catch (error) {
        throw asActivityFailure(error);
      }
    };
  return Object.fromEntries(Object.entries(functions).map(([name, run]) => [name, wrap(run)])) as T;
}

function pathOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | null)?.path ?? 'a file';
}
