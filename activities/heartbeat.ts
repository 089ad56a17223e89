/**
 * One heartbeat round the whole of an activity. It goes on only while the work reports progress: a heartbeat from a
 * mere timer would hide a hang.
 */
import { Context } from '@temporalio/activity';
import { ReverieFailure } from '../contracts/failures.ts';
import type { Transfer } from './store/store.ts';

export interface Beat {
  /** Aborted when Temporal cancels the activity, when the worker shuts down, and when the work has stalled. */
  signal: AbortSignal;
  /** Something moved: bytes, rows, steps. Cheap; call it as often as you like. */
  progress(bytesOrItems?: number): void;
  /** The signal and the progress, for the store's transfers. */
  transfer: Transfer;
  /** What the next heartbeats carry, as it is then, for people, in place of the count of bytes or items. */
  describe(details: unknown): void;
}

export interface HeartbeatOptions {
  /** Longest time without progress. */
  stallSeconds?: number;
}

const STALL_SECONDS = 120;
/** For what listens to the signal to clean up after itself, before the activity fails without it. */
const GRACE_MS = 5_000;
/** Cancellations, pauses and resets come back with a heartbeat, so a person waits this long for each. */
const INTERVAL_MS = { min: 100, max: 4_000 };

/**
 * Runs `work` under a heartbeat. Thrown: what `work` throws; on a stall an Error named `ActivityStalled`, which
 * Temporal retries; after a cancellation what `endOf` says.
 */
export async function withHeartbeat<T>(work: (beat: Beat) => Promise<T>, options: HeartbeatOptions = {}): Promise<T> {
  // Taken now: the context cannot be found from within a listener of its signal.
  const context = Context.current();
  const stallMs = (options.stallSeconds ?? STALL_SECONDS) * 1000;
  const stall = new AbortController();
  const signal = AbortSignal.any([context.cancellationSignal, stall.signal]);

  let moved = 0;
  let movedAtMs = performance.now();
  let details: unknown;
  const progress = (bytesOrItems = 1): void => {
    moved += bytesOrItems;
    movedAtMs = performance.now();
  };
  const beat = (): void => {
    if (performance.now() - movedAtMs <= stallMs) context.heartbeat(details ?? { moved });
    else if (!stall.signal.aborted) stall.abort(stalled(context.info.activityType, stallMs));
  };

  beat();
  const timer = setInterval(beat, Math.min(intervalMs(context.info.heartbeatTimeoutMs), Math.max(stallMs / 4, 10)));
  try {
    const transfer = { signal, onBytes: progress };
    const describe = (next: unknown): void => {
      details = next;
    };
    return await Promise.race([work({ signal, progress, transfer, describe }), rejectAfterGrace(stall.signal)]);
  } catch (error) {
    if (stall.signal.aborted) throw stall.signal.reason;
    if (context.cancellationSignal.aborted && isCancellation(error)) throw endOf(context, error);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

function intervalMs(heartbeatTimeoutMs: number | undefined): number {
  const third = heartbeatTimeoutMs ? heartbeatTimeoutMs / 3 : INTERVAL_MS.max;
  return Math.min(Math.max(third, INTERVAL_MS.min), INTERVAL_MS.max);
}

/**
 * How a cancelled activity ends. A worker's shutdown is a preemption: a plain CancelledFailure would read in the
 * workflow as the run's own cancellation. Everything else is the signal's own CancelledFailure: the SDK reports it as
 * cancelled, paused or reset, which it does not with an AbortError from a stream or a timer. After a timeout, or a
 * reset of a later attempt, nobody listens any more and another attempt follows by itself.
 */
function endOf({ cancellationSignal, cancellationDetails, info }: Context, error: unknown): unknown {
  if (!cancellationDetails?.workerShutdown) return cancellationSignal.reason;
  return new ReverieFailure(
    'Preempted',
    `Activity ${info.activityType} was stopped because its worker shuts down; it starts again on another worker.`,
    { step: null },
    { cause: error },
  );
}

/** Ends an activity whose work does not even answer its signal; otherwise never settles. */
function rejectAfterGrace(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      setTimeout(() => reject(signal.reason as Error), GRACE_MS).unref();
    });
  });
}

function stalled(activity: string, stallMs: number): Error {
  const error = new Error(
    `Activity ${activity} reported no progress for ${stallMs / 1000} s; expected some in that time; it is stopped and tried again. If it happens again, look for a stuck disk, mount or connection on this worker.`,
  );
  error.name = 'ActivityStalled';
  return error;
}

function isCancellation(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'CancelledFailure');
}
