/** Ends GPU work when the run's cap is used up: the trainer is told to save and end, as it is before a preemption. */
import { gpuSecondsLeft } from '../contracts/cost.ts';
import { isReverieFailure, ReverieFailure } from '../contracts/failures.ts';
import type { RunSpec } from '../contracts/run-spec.ts';

export interface Cap {
  /** For the trainer: aborted with the work's own signal, or when the cap is reached. */
  signal: AbortSignal;
  /** What a stop leaves the trainer: a cap is no notice, so there is all the time that a save may take. */
  graceSeconds: () => number;
  /** What the trainer's end means: CapReached where the cap has stopped it, the error itself otherwise. */
  explain: (error: unknown) => unknown;
  clear: () => void;
}

export interface CapOptions {
  policy: RunSpec['policy'];
  /** Of the whole run up to now. */
  gpuSeconds: number;
  /** At work from now on; a host without any uses nothing up. */
  gpus: number;
  /** Of the work. */
  signal: AbortSignal;
  graceSeconds: () => number;
}

/** Beyond it a timer would fire at once; no attempt lasts so long. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/** Throws CapReached where nothing is left. */
export function startCap({ policy, gpuSeconds, gpus, signal, graceSeconds }: CapOptions): Cap {
  const left = gpus === 0 ? null : gpuSecondsLeft(gpuSeconds, policy);
  if (left === 0) throw capReached(policy);
  const cap = new AbortController();
  const leftMs = left === null ? Infinity : (left / gpus) * 1000;
  const timer = leftMs > MOST_TIMER_MS ? undefined : setTimeout(() => cap.abort(), leftMs);
  const stops = (): boolean => cap.signal.aborted && !signal.aborted;
  return {
    signal: AbortSignal.any([signal, cap.signal]),
    graceSeconds: () => (stops() ? policy.phaseDeadlineSeconds.save : graceSeconds()),
    explain: (error) => (stops() && isReverieFailure(error) && error.type === 'Preempted' ? capReached(policy) : error),
    clear: () => clearTimeout(timer),
  };
}

function capReached({ maxGpuHours }: RunSpec['policy']): ReverieFailure {
  return new ReverieFailure(
    'CapReached',
    `The run has used its ${maxGpuHours} GPU-hours; expected it to end within policy.maxGpuHours; what was done is saved. Raise the cap to go on from there, or abort the run.`,
    { maxGpuHours: maxGpuHours ?? 0 },
  );
}
