/** What a person or a program can ask of a run in flight: the names and shapes of its query, updates and signal. */
import type { Cost } from './cost.ts';
import type { Verdict } from './failures.ts';
import type { TrainingLedger } from './ledger.ts';
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
  /** `go-on` where nothing had to be decided: a notice. */
  verdict: Verdict | 'go-on';
  /** What was done about it, in words. */
  action: string;
  /** ISO 8601. */
  at: string;
}

/** What an attempt says of itself while it goes on; nothing has to be decided. */
export interface Notice {
  type: NoticeType;
  message: string;
  /** ISO 8601. */
  at: string;
}
/**
 * A checkpoint that was no use; a step done again whose loss was another than the first time; a tracker that does not
 * take the curve; a notification that did not arrive.
 */
export const noticeTypes = ['CheckpointPassedOver', 'ReplayDiffers', 'TrackerDown', 'NotificationGivenUp'] as const;
export type NoticeType = (typeof noticeTypes)[number];

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
  /** When that checkpoint was committed; null for one that this attempt has found, and verified, at its start. */
  checkpointAt?: string | null;
  samplesDone: number | null;
  samples: number | null;
  attempt: number;
  at: string;
  /** Share of the training's time, all attempts included, in which it came forward. */
  goodput?: number;
  /** Of all this run's attempts at the training so far. */
  gpuSeconds?: number;
  /** Where that is what the note is for. */
  notices?: Notice[];
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
  cost: Cost;
  accuracy: { base: number | null; tuned: number | null; n: number } | null;
  weightsSha256: string | null;
  /** Where the training's time went; null until it is done. */
  ledger: TrainingLedger | null;
  report: string | null;
}

/** Whether every stage that makes something was served from the store: nothing has changed since an earlier run. */
export const isUnchanged = (stages: readonly StageStatus[]): boolean =>
  stages
    .filter(({ name }) => !['resolve', 'promote', 'report'].includes(name))
    .every(({ state }) => state === 'cached');

/** Result of the workflow. */
export interface RunResult {
  state: 'done' | 'unchanged';
  report: string;
  /** Of an unchanged run: the report of the run that did the work, where the store knows it. */
  earlierReport: string | null;
  headline: string;
  accuracy: { base: number | null; tuned: number | null; n: number };
  stages: { name: StageName; cached: boolean; seconds: number }[];
  attempts: number;
  weightsSha256: string;
}

export interface ResumeRequest {
  changes?: Partial<Record<'train' | 'eval' | 'policy', Record<string, unknown>>>;
}

export interface AbortRequest {
  reason?: string;
}

/** Second argument of an activity that is tried again after a wait: it holds itself back; see activities/hold-back.ts. */
export interface HoldBack {
  waitSeconds: number;
}

export interface GpuUse {
  index: number;
  /** Of the time since the driver's last look; null where the GPU does not say. */
  percent: number | null;
  /** In use, by whatever process. */
  memoryGib: number | null;
}

/** `heartbeat(details)` of a GPU activity: for people; the store is the truth about checkpoints. */
export interface HeartbeatDetails extends Progress {
  host: string;
  /** From the store and from this host's disk, hashed, before the trainer starts. */
  bytesRead: number;
  /** The attempt's losses so far, thinned to a few dozen: a curve. */
  losses?: number[];
  /** Of checkpoints, those under way included. */
  bytesUploaded: number;
  /** As nvidia-smi told last; absent where there is none. */
  gpus?: GpuUse[];
}
