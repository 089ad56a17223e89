/** The parts of a run spec that decide what a stage makes: pure, so that workflows may compare what keys hash. */
import type { JsonValue } from './canonical-json.ts';
import type { RunSpec } from './run-spec.ts';

/** What decides the weights beyond rounding; not micro-batch, rank count, checkpoint cadence or queue. */
export function trainParameters(spec: RunSpec): JsonValue {
  const { backend, epochs, maxSteps, globalBatchSize, recipe, lora, compile, seed, threads, objective, optimizer } =
    spec.train;
  const { maxTokens } = spec.filter;
  const microBatchSize = microBatchIsLearned(spec) ? spec.train.microBatchSize : null;
  return {
    backend,
    epochs,
    maxSteps,
    globalBatchSize,
    recipe,
    lora,
    compile,
    seed,
    threads,
    objective,
    optimizer,
    microBatchSize,
    maxTokens,
  };
}

/** The public trainer's normalisation depends on the micro-batch, so there it is part of what is learned. */
export const microBatchIsLearned = ({ train }: RunSpec): boolean =>
  train.objective.normalisation === 'micro-batch-means';
