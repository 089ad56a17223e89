/** When a rented host has had nothing to do for so long that it is given back. */
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 1000;

/** Resolves with true once `atWork` has been 0 for `seconds` without a break; with false when `signal` is aborted. */
export async function untilIdle(
  seconds: number,
  atWork: () => number,
  signal: AbortSignal,
  lookMs = LOOK_MS,
): Promise<boolean> {
  let sinceMs = performance.now();
  while (!signal.aborted) {
    if (atWork() > 0) sinceMs = performance.now();
    else if (performance.now() - sinceMs >= seconds * 1000) return true;
    await sleep(lookMs, null, { signal }).catch(() => {});
  }
  return false;
}
