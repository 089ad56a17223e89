/** What next after this failure? Pure functions of what happened; the workflow only carries them out. */
import type { FailureType } from '../contracts/failures.ts';
import { type Verdict, verdicts } from '../contracts/failures.ts';
import type { RunSpec } from '../contracts/run-spec.ts';

/** A failure as the workflow sees it; details come from outside and are read with care. */
export interface StageFailure {
  /** Null for what nobody has named: an error without a type, or a worker's silence past every retry. */
  type: FailureType | null;
  message: string;
  details: Record<string, unknown>;
}

/** How often each type has been judged in this stage since the run started or was resumed. */
export type FailureCounts = Partial<Record<FailureType | 'unknown', number>>;

export interface Decision {
  kind: 'again' | 'park' | 'fail';
  verdict: Verdict;
  /** What is done about it, for people. */
  action: string;
  delaySeconds: number;
  /** Laid over the train part of the spec from the next attempt on. */
  train?: Partial<Pick<RunSpec['train'], 'microBatchSize' | 'activationCheckpointing'>>;
  /** A step whose batch is left out from the next attempt on. */
  leaveOutStep?: number;
}

/** Pure: the same failure, counts and spec give the same decision on replay. */
export function decide(failure: StageFailure, counts: FailureCounts, spec: RunSpec): Decision {
  const { policy } = spec;
  const { type } = failure;
  if (type === null) return again('retry', counts.unknown ?? 0, 2, failure, 30);
  const verdict = verdicts[type];
  const before = counts[type] ?? 0;
  switch (type) {
    case 'Preempted':
      return { kind: 'again', verdict, action: 'starts again from the newest checkpoint', delaySeconds: 0 };
    case 'OutOfMemory':
      return shrink(spec, failure);
    case 'Diverged':
      return rollBack(failure, before, policy.maxDivergences);
    case 'TrainerHung':
      return again(verdict, before, policy.maxHangs, failure);
    case 'HardwareFault':
      return again(verdict, before, policy.maxHardwareFaults, failure, 10);
    case 'TrainerCrashed':
      return again(verdict, before, policy.maxCrashes, failure);
    case 'StoreUnavailable':
    case 'DiskFull':
      return again(verdict, before, policy.maxStoreFailures, failure, Math.min(15 * 2 ** before, 900));
    case 'ArtifactMissing':
      return again(verdict, before, 2, failure);
    case 'NoProgress':
    case 'CheckpointLost':
      return { kind: 'park', verdict, action: 'waits for a person', delaySeconds: 0 };
    case 'InvalidSpec':
    case 'DatasetRejected':
    case 'ModelRejected':
      return { kind: 'fail', verdict, action: 'ends the run: the input has to be corrected', delaySeconds: 0 };
    default:
      return type satisfies never;
  }
}

function again(verdict: Verdict, before: number, budget: number, failure: StageFailure, delaySeconds = 0): Decision {
  if (before >= budget) {
    const action = `waits for a person: ${budget === 0 ? 'no further try' : `tried again ${budget} ${budget === 1 ? 'time' : 'times'}`} for ${failure.type ?? 'this'}`;
    return { kind: 'park', verdict: 'park', action, delaySeconds: 0 };
  }
  const wait = delaySeconds > 0 ? ` in ${delaySeconds} s` : '';
  return { kind: 'again', verdict, action: `tries again${wait} (${before + 1} of ${budget})`, delaySeconds };
}

/** The walkthrough's ladder at the same global batch: half the micro-batch down to 1, then recompute activations. */
function shrink(spec: RunSpec, failure: StageFailure): Decision {
  const ran = failure.details.microBatchSize;
  const microBatchSize = typeof ran === 'number' && ran >= 1 ? ran : spec.train.microBatchSize;
  if (microBatchSize > 1) {
    const smaller = largestDivisor(spec.train.globalBatchSize, Math.floor(microBatchSize / 2));
    const action = `micro-batch ${microBatchSize} → ${smaller}, same global batch of ${spec.train.globalBatchSize}`;
    return { kind: 'again', verdict: 'shrink', action, delaySeconds: 0, train: { microBatchSize: smaller } };
  }
  if (!spec.train.activationCheckpointing) {
    const action = 'recomputes activations in the backward pass';
    return { kind: 'again', verdict: 'shrink', action, delaySeconds: 0, train: { activationCheckpointing: true } };
  }
  const action = 'waits for a person: the ladder is at its end (micro-batch 1, activations recomputed)';
  return { kind: 'park', verdict: 'park', action, delaySeconds: 0 };
}

function largestDivisor(of: number, atMost: number): number {
  for (let candidate = Math.max(1, atMost); candidate > 1; candidate--) if (of % candidate === 0) return candidate;
  return 1;
}

function rollBack(failure: StageFailure, before: number, budget: number): Decision {
  const { step } = failure.details;
  if (before >= budget || typeof step !== 'number') return again('roll-back', budget, budget, failure);
  const action = `goes back to the checkpoint before step ${step} and leaves its batch out (${before + 1} of ${budget})`;
  return { kind: 'again', verdict: 'roll-back', action, delaySeconds: 0, leaveOutStep: step };
}

/** What to press when a run waits, and what it will do: for a person at 3 a.m. who has never seen the code. */
export function advise(failure: StageFailure, stage: string): string {
  const press = 'Press **Update**, choose `resume`';
  switch (failure.type) {
    case 'OutOfMemory':
      return `${press} with \`{"changes": {"train": {"queue": "NAME"}}}\` to go on with a class of larger hosts, from the newest checkpoint. A shorter \`filter.maxTokens\` changes the data, so it needs a new run: **Start Workflow Like This One**.`;
    case 'Diverged':
      return `${press} with \`{}\` to try again from the newest checkpoint. A lower \`train.optimizer.learningRate\` changes what is learned, so training then starts anew: \`{"changes": {"train": {"optimizer": {"learningRate": 1e-6}}}}\`.`;
    case 'TrainerHung':
    case 'HardwareFault':
      return `Look at the host that the message names, take it out if it is broken, then ${press.toLowerCase()} with \`{}\`: ${stage} goes on from the newest checkpoint on whichever worker is free.`;
    case 'StoreUnavailable':
    case 'DiskFull':
      return `Mend the store or make room, as the message says, then ${press.toLowerCase()} with \`{}\`: nothing that was committed is done again.`;
    case 'CheckpointLost':
      return `Look whether the store lost objects or another store is configured. ${press} with \`{}\` to accept the loss: training goes on from the step that was found.`;
    default:
      return `Read the message and the worker's log, mend the cause, then ${press.toLowerCase()} with \`{}\`: ${stage} goes on from what the store holds.`;
  }
}
