/** Where the time of one training went over all its attempts, and what doing steps again has shown. */

/** In the order in which a person reads them. */
export const spendings = [
  /** Steps done for the first time. */
  'productive',
  'validation',
  /** Steps done again, after an attempt that ended beyond its last checkpoint. */
  'replayed',
  /** From the last sign of an attempt to its bad end: a step cut off, a hang. */
  'lost',
  /** Training stood still for a checkpoint. */
  'saving',
  /** To the first step: fetching, launching, loading. */
  'starting',
  'waitingForData',
  /** Export and commit of the model. */
  'finishing',
  /** From the last sign of an attempt to the start of the next one, a wait for a person included. */
  'waitingForHost',
] as const;
export type Spending = (typeof spendings)[number];
export type Spent = Record<Spending, number>;

export interface ReplayCount {
  /** Steps done again. */
  steps: number;
  /** Of those, compared with the loss of the first time under the same setting, which has to be equal to the bit. */
  compared: number;
  differing: number;
  /** Compared under another setting, as by another number of ranks: equal to rounding. */
  comparedToRounding: number;
  /** Largest difference of a loss relative to the first time, over all that were compared; null without any. */
  largestDifference: number | null;
}

export interface TrainingLedger {
  /** Attempts that left an account. */
  attempts: number;
  /** Seconds; in sum the wall time of the training. */
  seconds: Spent;
  /** Steps from which attempts went on, in their order; the newest of them. */
  restarts: number[];
  replays: ReplayCount;
  gpuSeconds: number;
}

export const wallSeconds = ({ seconds }: Pick<TrainingLedger, 'seconds'>): number =>
  spendings.reduce((sum, name) => sum + seconds[name], 0);

/** Share of the wall time in which training came forward; null before any time has passed. */
export function goodput(ledger: Pick<TrainingLedger, 'seconds'>): number | null {
  const wall = wallSeconds(ledger);
  return wall > 0 ? (ledger.seconds.productive + ledger.seconds.validation) / wall : null;
}
