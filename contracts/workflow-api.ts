/** What a person or a program can ask of a run in flight: the names and shapes of its query, updates and signal. */
import type { Verdict } from './failures.ts';
import type { RunState } from './search-attributes.ts';
import type { StageName } from './stages.ts';

export const WORKFLOW_TYPE = 'fineTune';
export const TASK_QUEUE = 'reverie';

export interface StageStatus {
  name: StageName;
  state: 'waiting' | 'running' | 'done' | 'cached' | 'skipped' | 'failed';
  /** Wall time of the stage's own work; null until it ends. */
  seconds: number | null;
  /** One line about its result. */
  note: string | null;
}

export interface Incident {
  stage: StageName;
  type: string;
  message: string;
  verdict: Verdict;
  /** What was done about it, in words. */
  action: string;
  /** ISO 8601. */
  at: string;
}

/** From the GPU worker, at most 40 a run; live figures are in the heartbeat. */
export interface Progress {
  stage: StageName;
  phase: string;
  step: number;
  steps: number;
  loss: number | null;
  tokensPerSecond: number | null;
  etaSeconds: number | null;
  checkpointStep: number | null;
  samplesDone: number | null;
  samples: number | null;
  attempt: number;
  at: string;
}

export interface ParkedStatus {
  stage: StageName;
  reason: string;
  /** What is kept while the run waits. */
  holds: string;
  /** What to press, and what it will do. */
  advice: string;
  since: string;
  until: string;
}

export interface RunStatus {
  state: RunState;
  stage: StageName | null;
  stages: StageStatus[];
  incidents: Incident[];
  progress: Progress | null;
  parked: ParkedStatus | null;
  /** Attempts at training: 0 when it was served from the store, 1 when nothing happened. */
  attempts: number;
  gpuHours: number;
  accuracy: { base: number | null; tuned: number | null; n: number } | null;
  weightsSha256: string | null;
  report: string | null;
}

/** Result of the workflow. */
export interface RunResult {
  state: 'done' | 'unchanged';
  report: string;
  headline: string;
  accuracy: { base: number | null; tuned: number | null; n: number };
  stages: { name: StageName; cached: boolean; seconds: number }[];
  attempts: number;
  weightsSha256: string;
}

export interface ResumeRequest {
  changes?: { train?: Record<string, unknown>; eval?: Record<string, unknown> };
}

export interface AbortRequest {
  reason?: string;
}

/** `heartbeat(details)` of a GPU activity: for people; the store is the truth about checkpoints. */
export interface HeartbeatDetails extends Progress {
  host: string;
  bytesUploaded: number;
}
