/** The ledger of a training from the records of its attempts: pure. */
import { type Spent, spendings, type TrainingLedger } from '../../contracts/ledger.ts';
import type { Attempt } from './attempts.ts';

const RESTARTS_TOLD = 100;

export const wallOf = ({ seconds }: Pick<Attempt, 'seconds'>): number =>
  Object.values(seconds).reduce((sum, each) => sum + each, 0);

/**
 * `attempts` in their order; null where there are none. Between two runs of the same training nobody waits for a host,
 * so only attempts of one run have a wait between them; it also holds what an attempt that died without a word had done
 * since its last record.
 */
export function trainingLedger(attempts: readonly Attempt[]): TrainingLedger | null {
  if (attempts.length === 0) return null;
  const seconds = Object.fromEntries(spendings.map((name) => [name, 0])) as Spent;
  const replays = new Map<string, number>();
  const lastSignMs = new Map<string, number>();
  let largest: number | null = null;
  let gpuSeconds = 0;
  for (const attempt of attempts) {
    for (const [name, spent] of Object.entries(attempt.seconds)) seconds[name as keyof Attempt['seconds']] += spent;
    const { largestDifference, ...counts } = attempt.replays;
    for (const [name, count] of Object.entries(counts)) replays.set(name, (replays.get(name) ?? 0) + count);
    if (largestDifference !== null) largest = Math.max(largest ?? 0, largestDifference);
    gpuSeconds += wallOf(attempt) * attempt.gpus;
    const startedMs = Date.parse(attempt.startedAt);
    const before = lastSignMs.get(attempt.workflowId) ?? startedMs;
    // Clocks of two hosts: a wait is never negative.
    seconds.waitingForHost += Math.max(0, startedMs - before) / 1000;
    lastSignMs.set(attempt.workflowId, startedMs + wallOf(attempt) * 1000);
  }
  const count = (name: string): number => replays.get(name) ?? 0;
  return {
    attempts: attempts.length,
    seconds,
    restarts: attempts
      .slice(1)
      .flatMap(({ fromStep }) => (fromStep === null ? [] : [fromStep]))
      .slice(-RESTARTS_TOLD),
    replays: {
      steps: count('steps'),
      compared: count('compared'),
      differing: count('differing'),
      comparedToRounding: count('comparedToRounding'),
      largestDifference: largest,
    },
    gpuSeconds,
  };
}
