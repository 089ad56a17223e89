/** How a process ends for an error: 2 where what it was given or told to reach is at fault, 1 otherwise. */
import { isReverieFailure } from '../contracts/failures.ts';
import { NotReachable } from './connect.ts';

/** Failures of a run whose input has to be corrected. */
const REFUSALS: readonly string[] = ['InvalidSpec', 'DatasetRejected', 'ModelRejected'];

export const exitCodeOfRun = (failureType: string | null): 1 | 2 => (REFUSALS.includes(failureType ?? '') ? 2 : 1);

/** A store that does not answer before anything has begun is a wrong address, as a server is. */
export function exitCodeOf(error: unknown): 1 | 2 {
  if (error instanceof NotReachable) return 2;
  if (!isReverieFailure(error)) return 1;
  return error.type === 'StoreUnavailable' ? 2 : exitCodeOfRun(error.type);
}
