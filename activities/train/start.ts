/** What an attempt at a training starts from, brought to this host: data, weights, the newest checkpoint, kernels. */
import { ReverieFailure } from '../../contracts/failures.ts';
import type { TrainerTrainSpec } from '../../contracts/trainer.ts';
import { Checkpoints, type FetchedCheckpoint } from '../store/checkpoints.ts';
import { Kernels } from './kernels.ts';
import { precompile } from './precompile.ts';
import { parseHistory } from './summary.ts';
import type { TrainAttempt } from './train.ts';
import { trainerSpec } from './trainer-spec.ts';
import type { TrainingFolder } from './training-folder.ts';

export interface Start {
  found: FetchedCheckpoint | null;
  checkpoints: Checkpoints;
  trainerSpec: TrainerTrainSpec;
  /** Null where nothing will be compiled. */
  kernels: Kernels | null;
}

/** So many bytes of weights on their way leave time to compile beside them; their model is large enough to be compiled. */
const WORTH_COMPILING_BESIDE = 1e9;

const isWeights = (path: string): boolean => path.endsWith('.safetensors');

export async function fetchStart(attempt: TrainAttempt, folder: TrainingFolder): Promise<Start> {
  const { request, trainKey, deps, execution, context, view } = attempt;
  const { spec, leaveOutSteps } = request;
  const { artifacts } = deps;
  const transfer = view.counting('bytesRead', context.transfer);
  const [filteredDir, modelDir] = await Promise.all([
    artifacts.fetch(request.filtered, transfer),
    artifacts.fetch(request.model, transfer, (path) => !isWeights(path)),
  ]);
  const specFrom = (resumeFrom: string | null): TrainerTrainSpec =>
    trainerSpec({ spec, trainKey, modelDir, filteredDir, resumeFrom, leaveOutSteps });
  const asked = spec.train.compile;
  const kernels =
    asked === 'on' || (asked === 'auto' && deps.gpus > 0) ? await Kernels.open(deps, specFrom(null)) : null;

  const over = new AbortController();
  const signal = AbortSignal.any([context.signal, over.signal]);
  const timeoutSeconds = spec.policy.phaseDeadlineSeconds.compile;
  const least = asked === 'on' ? 1 : WORTH_COMPILING_BESIDE;
  const isWorthIt = kernels && !(await kernels.exist()) && (await artifacts.missingBytes(request.model)) >= least;
  const compiling = isWorthIt
    ? precompile({ deps, execution, spec: specFrom(null), kernels, runDir: folder.runDir, signal, timeoutSeconds })
    : null;
  try {
    const checkpoints = new Checkpoints(deps.store, trainKey);
    const found = await newestFitting(attempt, checkpoints, folder.checkpoints);
    if (found?.needsBase ?? true) await artifacts.fetch(request.model, transfer);
    if (compiling) {
      // A mere timer may stand for progress here, since the compiler has a deadline of its own.
      const alive = setInterval(() => context.progress(0), 1000);
      await compiling.finally(() => clearInterval(alive));
    }
    return { found, checkpoints, trainerSpec: specFrom(found?.folder ?? null), kernels };
  } finally {
    over.abort();
    await compiling;
  }
}

/**
 * The newest verified checkpoint that left out just the batches that this attempt leaves out. Throws CheckpointLost
 * where the run has seen a later step committed and nothing damaged accounts for it.
 */
async function newestFitting(
  { request, trainKey, deps, context, view, log }: TrainAttempt,
  checkpoints: Checkpoints,
  localRoot: string,
): Promise<FetchedCheckpoint | null> {
  const { leaveOutSteps, seenStep } = request;
  let passedOver = 0;
  const found = await checkpoints.fetchNewest(localRoot, {
    identity: trainKey,
    transfer: view.counting('bytesRead', context.transfer),
    seenStep,
    fits: (history) => {
      const steps = parseHistory(history).filter((record) => record.type === 'step');
      return steps.every(({ step, leftOut }) => leftOut === leaveOutSteps.includes(step));
    },
    onDamaged: (where, reason) => {
      passedOver++;
      const message = `Checkpoint ${where} is passed over: ${reason}.`;
      log.notice({ type: 'CheckpointPassedOver', message, at: new Date().toISOString() });
      deps.log.warn({ where, reason }, 'checkpoint passed over');
    },
  });
  const foundStep = found?.step ?? 0;
  const explained = passedOver > 0 || leaveOutSteps.length > 0;
  if (seenStep !== null && foundStep < seenStep && !explained) {
    throw new ReverieFailure(
      'CheckpointLost',
      `The newest checkpoint in ${deps.store.url} is of step ${foundStep}; expected step ${seenStep} or later, which this run has seen committed; look whether objects were deleted or another store is configured. Nothing was trained again.`,
      { seenStep, foundStep },
    );
  }
  return found;
}
