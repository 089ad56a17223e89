/** What GPU activities are given on top: the host they run on. */
import type { ActivityDeps } from './deps.ts';

export interface GpuDeps extends ActivityDeps {
  /** Trainer processes that train together: the GPUs of this worker, 1 without any. */
  ranks: number;
  /** GPUs of this worker. */
  gpus: number;
  /** Their names, as the driver tells them. */
  gpuModels: readonly string[];
  /** Seals compiled kernels in the store; null keeps them on this host. */
  kernelsSecret: string | null;
  /** Name of this host, for people. */
  host: string;
  /** From a stop now to the end of the trainer: what a preemption notice leaves for the last checkpoint. */
  graceSeconds: () => number;
}

/** What an activity knows of its own execution, handed to code that knows nothing of Temporal. */
export interface Execution {
  workflowId: string;
  /** Counts Temporal's retries, from 1. */
  attempt: number;
  /** Unique among all executions and attempts, safe as a folder's name. */
  attemptPrefix: string;
}
