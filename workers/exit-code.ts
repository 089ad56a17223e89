/** How a process ends for an error: 2 where what it was given or told to reach is at fault, 1 otherwise. */
import { isReverieFailure } from '../contracts/failures.ts';
import { NotReachable } from './connect.ts';

/** What each says, for people. */
export const exitCodes = {
  0: 'Done; of a worker, that it was told to stop and has.',
  1: 'Failed: the message says how; of `doctor`, that something would stop a run.',
  2: 'Bad input (a run spec, data, an argument), or nothing to reach: no Temporal server, no store.',
  130: 'Stopped by a signal. A run that was started goes on.',
} as const;

/** Failures of a run whose input has to be corrected. */
const REFUSALS: readonly string[] = ['InvalidSpec', 'DatasetRejected', 'ModelRejected'];

export const exitCodeOfRun = (failureType: string | null): 1 | 2 => (REFUSALS.includes(failureType ?? '') ? 2 : 1);

/** A store that does not answer before anything has begun is a wrong address, as a server is. */
export function exitCodeOf(error: unknown): 1 | 2 {
  if (error instanceof NotReachable) return 2;
  if (!isReverieFailure(error)) return 1;
  return error.type === 'StoreUnavailable' ? 2 : exitCodeOfRun(error.type);
}
