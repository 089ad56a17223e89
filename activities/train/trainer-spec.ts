/** The trainer's spec from the run's: a translation, nothing decided here. */
import { join } from 'node:path';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { TrainerTrainSpec } from '../../contracts/trainer.ts';

export interface TrainInputs {
  spec: RunSpec;
  trainKey: string;
  /** Local folders. */
  modelDir: string;
  filteredDir: string;
  resumeFrom: string | null;
  leaveOutSteps: readonly number[];
}

export function trainerSpec({
  spec,
  trainKey,
  modelDir,
  filteredDir,
  resumeFrom,
  leaveOutSteps,
}: TrainInputs): TrainerTrainSpec {
  const { train, policy } = spec;
  return {
    version: 1,
    identity: trainKey,
    model: modelDir,
    trainData: join(filteredDir, 'train.parquet'),
    validationData: join(filteredDir, 'validation.parquet'),
    maxTokens: spec.filter.maxTokens,
    seed: train.seed,
    epochs: train.epochs,
    maxSteps: train.maxSteps,
    globalBatchSize: train.globalBatchSize,
    microBatchSize: train.microBatchSize,
    activationCheckpointing: train.activationCheckpointing,
    activationBudget: train.activationBudget,
    compile: train.compile,
    sharding: train.sharding,
    recipe: train.recipe,
    lora: train.lora,
    objective: train.objective,
    optimizer: train.optimizer,
    leaveOutSteps: [...leaveOutSteps],
    validateEverySteps: train.validateEverySteps,
    spikeFactor: train.spikeFactor,
    checkpoint: {
      resumeFrom,
      everySteps: train.checkpointEverySteps,
      expectedSecondsBetweenPreemptions: policy.expectedSecondsBetweenPreemptions,
      minSeconds: policy.minCheckpointSeconds,
      maxSeconds: policy.maxCheckpointSeconds,
    },
    threads: train.threads,
  };
}
