/** What a run has seen of its data in the end, replays and abandoned steps left out. */
import type { Attempt } from './watch.ts';

/** Samples seen twice in an epoch, or steps that no attempt did: both have to be 0. */
export function samplesAmiss(attempts: readonly Attempt[], steps: number): number {
  const rowsOf = new Map<number, { epoch: number; rows: number[] }>();
  for (const attempt of attempts) {
    const { fromStep } = attempt;
    if (fromStep === null) continue;
    // What an earlier attempt did beyond this step was lost with it.
    for (const step of rowsOf.keys()) if (step > fromStep) rowsOf.delete(step);
    for (const { step, epoch, rows } of attempt.steps) rowsOf.set(step, { epoch, rows });
  }
  let amiss = steps - rowsOf.size;
  const seen = new Set<string>();
  for (const { epoch, rows } of rowsOf.values()) {
    for (const row of rows) {
      if (seen.has(`${epoch}/${row}`)) amiss++;
      seen.add(`${epoch}/${row}`);
    }
  }
  return amiss;
}
