/** What next after this failure? Pure functions of what happened; the workflow only carries them out. */
import type { FailureType } from '../contracts/failures.ts';
import { type Verdict, verdicts } from '../contracts/failures.ts';
import type { RunSpec } from '../contracts/run-spec.ts';
import { microBatchIsLearned } from '../contracts/stage-parameters.ts';
import type { StageName } from '../contracts/stages.ts';

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

/** Tries that no policy counts: errors that nobody has named, and runs that started over. */
const UNNAMED = 2;
const MISSING_ARTIFACTS = 2;

/** Pure: the same failure, stage, counts and spec give the same decision on replay. */
export function decide(failure: StageFailure, stage: StageName, counts: FailureCounts, spec: RunSpec): Decision {
  const { policy } = spec;
  const { type } = failure;
  if (type === null) return again('retry', counts.unknown ?? 0, UNNAMED, failure, 30);
  const verdict = verdicts[type];
  const before = counts[type] ?? 0;
  switch (type) {
    case 'Preempted':
      return { kind: 'again', verdict, action: 'starts again from the newest checkpoint', delaySeconds: 0 };
    case 'OutOfMemory':
      return stage === 'train'
        ? shrink(spec, failure)
        : park('another shard size changes answers, so a person decides');
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
      return again(verdict, before, MISSING_ARTIFACTS, failure);
    case 'CapReached':
      // A person may have raised it while the attempt ran.
      return (policy.maxGpuHours ?? Infinity) > Number(failure.details.maxGpuHours)
        ? { kind: 'again', verdict: 'retry', action: 'goes on under the raised cap', delaySeconds: 0 }
        : park('policy.maxGpuHours is used up');
    case 'NoProgress':
    case 'CheckpointLost':
      return park('no further try would help');
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
    const tries = budget === 1 ? 'tried again once' : `tried again ${budget} times`;
    return park(budget === 0 ? 'no try is left to it' : `${tries} after ${failure.type ?? 'an error without a name'}`);
  }
  const wait = delaySeconds > 0 ? ` in ${delaySeconds} s` : '';
  return { kind: 'again', verdict, action: `tries again${wait} (${before + 1} of ${budget})`, delaySeconds };
}

const park = (why: string): Decision => ({
  kind: 'park',
  verdict: 'park',
  action: `waits for a person: ${why}`,
  delaySeconds: 0,
});

/**
 * The walkthrough's ladder at the same global batch: half the micro-batch down to 1, then recompute activations. Where
 * the micro-batch is part of what is learned, its rungs are left out: they would begin another training.
 */
function shrink(spec: RunSpec, failure: StageFailure): Decision {
  const ran = failure.details.microBatchSize;
  const microBatchSize = typeof ran === 'number' && ran >= 1 ? ran : spec.train.microBatchSize;
  if (microBatchSize > 1 && !microBatchIsLearned(spec)) {
    // A person may have asked for less while the attempt ran.
    const half = largestDivisor(spec.train.globalBatchSize, Math.floor(microBatchSize / 2));
    const smaller = Math.min(half, spec.train.microBatchSize);
    const action = `micro-batch ${microBatchSize} → ${smaller}, same global batch of ${spec.train.globalBatchSize}`;
    return { kind: 'again', verdict: 'shrink', action, delaySeconds: 0, train: { microBatchSize: smaller } };
  }
  if (!spec.train.activationCheckpointing) {
    const action = 'recomputes activations in the backward pass';
    return { kind: 'again', verdict: 'shrink', action, delaySeconds: 0, train: { activationCheckpointing: true } };
  }
  return park(`the ladder is at its end (micro-batch ${microBatchSize}, activations recomputed)`);
}

function largestDivisor(of: number, atMost: number): number {
  for (let candidate = Math.max(1, atMost); candidate > 1; candidate--) if (of % candidate === 0) return candidate;
  return 1;
}

function rollBack(failure: StageFailure, before: number, budget: number): Decision {
  const { step } = failure.details;
  if (typeof step !== 'number') return park('the message names no step');
  if (before >= budget) return again('roll-back', before, budget, failure);
  const action = `goes back to the checkpoint before step ${step} and leaves its batch out (${before + 1} of ${budget})`;
  return { kind: 'again', verdict: 'roll-back', action, delaySeconds: 0, leaveOutStep: step };
}
