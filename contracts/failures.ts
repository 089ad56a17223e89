/**
 * Everything that can go wrong with a run: one closed union, each type with its details and one verdict. Domain code
 * throws a ReverieFailure; activities turn it into a Temporal failure of the same type; workflows match on the type.
 */
import type { JsonValue } from './canonical-json.ts';

export interface FailureDetails {
  /** Saved on notice, or killed from outside without one; again from the newest checkpoint. */
  Preempted: { step: number | null; killed?: boolean };
  OutOfMemory: { phase: string; microBatchSize: number; step: number | null };
  /** NaN, infinity or a spike of the loss, found before the update of `step`. */
  Diverged: { step: number; rows: number[]; value: string };
  TrainerHung: { phase: string; seconds: number; step: number | null };
  HardwareFault: { host: string; step: number | null };
  StoreUnavailable: { operation: string };
  DiskFull: { path: string };
  TrainerCrashed: { exitCode: number | null; signal: string | null; step: number | null; log: string };
  NoProgress: { step: number | null; attempts: number };
  /** policy.maxGpuHours is used up; what was trained is saved. */
  CapReached: { maxGpuHours: number };
  /** The attempt would start below a step that the run has seen committed. */
  CheckpointLost: { seenStep: number; foundStep: number };
  InvalidSpec: { problems: string[] };
  DatasetRejected: { problems: string[] };
  ModelRejected: { problems: string[] };
  /** Promotion, report and other work found its input missing in the store. */
  ArtifactMissing: { uri: string };
}

export type FailureType = keyof FailureDetails;
export type Verdict = 'retry' | 'retry-elsewhere' | 'shrink' | 'roll-back' | 'park' | 'fail';

/** What happens next, before budgets: the workflow's pure functions count and turn `retry` into `park` past them. */
export const verdicts: Record<FailureType, Verdict> = {
  Preempted: 'retry',
  OutOfMemory: 'shrink',
  Diverged: 'roll-back',
  TrainerHung: 'retry-elsewhere',
  HardwareFault: 'retry-elsewhere',
  StoreUnavailable: 'retry',
  DiskFull: 'retry-elsewhere',
  TrainerCrashed: 'retry',
  NoProgress: 'park',
  CapReached: 'park',
  CheckpointLost: 'park',
  InvalidSpec: 'fail',
  DatasetRejected: 'fail',
  ModelRejected: 'fail',
  ArtifactMissing: 'retry',
};

export const failureTypes = Object.keys(verdicts) as FailureType[];

export function isFailureType(type: string | null | undefined): type is FailureType {
  return type != null && Object.hasOwn(verdicts, type);
}

/** Thrown by domain code; `message` has four parts: the thing, what came, what was expected, what to do. */
export class ReverieFailure<T extends FailureType = FailureType> extends Error {
  readonly type: T;
  /**
   * An attempt at training adds its number among Temporal's own and the step of its newest checkpoint in the store; one
   * that has looked for its artifact says so, since it need not be looked for again before the next. A GPU stage tells
   * the GPU-seconds that it took: an attempt at training those of all this run's attempts, any other its own.
   */
  readonly details: FailureDetails[T] & {
    attempt?: number;
    checkpointStep?: number | null;
    lookedUp?: boolean;
    gpuSeconds?: number;
  };

  constructor(type: T, message: string, details: FailureDetails[T], options?: ErrorOptions) {
    super(message, options);
    this.name = 'ReverieFailure';
    this.type = type;
    this.details = details;
  }

  toJSON(): JsonValue {
    return { type: this.type, message: this.message, details: this.details as unknown as JsonValue };
  }
}

/** `instanceof` alone would leave the details untyped. */
export const isReverieFailure = (error: unknown): error is ReverieFailure => error instanceof ReverieFailure;

/** Bad input in words, several problems in one failure. */
export function rejected(
  type: 'InvalidSpec' | 'DatasetRejected' | 'ModelRejected',
  ...problems: string[]
): ReverieFailure {
  return new ReverieFailure(type, problems.join('\n'), { problems });
}
