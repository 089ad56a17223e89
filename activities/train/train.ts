/**
 * One attempt at a training: find the newest verified checkpoint, run the trainer from it, bring its checkpoints up
 * behind it, and make the artifact. Knows nothing of Temporal; killed at any moment, the next attempt goes on.
 */
import { copyFile, cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isReverieFailure, ReverieFailure } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { ArtifactRef, TrainSummary } from '../../contracts/stages.ts';
import { giveUpAfter } from '../give-up-after.ts';
import type { Execution, GpuDeps } from '../gpu-deps.ts';
import type { StageContext } from '../stage.ts';
import { Checkpoints, type FetchedCheckpoint } from '../store/checkpoints.ts';
import type { ProgressView } from '../trainer/progress.ts';
import { runTrainer } from '../trainer/run-trainer.ts';
import { Attempts } from './attempts.ts';
import { Publisher, type Saved } from './publisher.ts';
import { type Done, leftOutSteps, type Plan, readHistory, summarise } from './summary.ts';
import { trainerSpec } from './trainer-spec.ts';
import { openTrainingFolder } from './training-folder.ts';

export interface TrainRequest {
  spec: RunSpec;
  filtered: ArtifactRef;
  model: ArtifactRef;
  /** The highest step whose checkpoint the run has heard of; null for none. */
  seenStep: number | null;
  /** Steps whose batch diverged, to be left out. */
  leaveOutSteps: number[];
}

export interface TrainAttempt {
  request: TrainRequest;
  trainKey: string;
  deps: GpuDeps;
  execution: Execution;
  context: StageContext;
  view: ProgressView;
}

export async function train(attempt: TrainAttempt): Promise<TrainSummary> {
  const { request, trainKey, deps, execution, context, view } = attempt;
  const { spec } = request;
  const [filteredDir, modelDir] = await Promise.all([
    deps.artifacts.fetch(request.filtered, context.transfer),
    deps.artifacts.fetch(request.model, context.transfer),
  ]);
  const checkpoints = new Checkpoints(deps.store, trainKey);
  const folder = await openTrainingFolder(deps.cacheDir, trainKey, execution.attemptPrefix);
  const found = await newestFitting(attempt, checkpoints, folder.checkpoints);
  const fromStep = found?.step ?? 0;
  const attempts = new Attempts(deps.store, trainKey);
  await attempts.assertProgress(execution.workflowId, fromStep);
  const record = {
    version: 1 as const,
    workflowId: execution.workflowId,
    attempt: execution.attempt,
    host: deps.host,
    fromStep,
    startedAt: new Date().toISOString(),
  };
  await attempts.put(execution.attemptPrefix, { ...record, ended: null });
  deps.log.info({ trainKey, attempt: execution.attempt, fromStep, source: found?.source ?? null }, 'training starts');
  view.committed(fromStep, 0);

  // Uploads outlive a stop by the notice: the last checkpoint is what it was given for.
  const publisher = new Publisher({
    checkpoints,
    attempt: execution.attemptPrefix,
    log: deps.log,
    transfer: { signal: giveUpAfter(context.signal, deps.graceSeconds), onBytes: (bytes) => context.progress(bytes) },
    onCommitted: ({ step, bytes }) => {
      view.committed(step, bytes);
      context.describe({ ...view.details });
    },
  });
  let plan: Plan | null = null;
  let final: Saved | null = null;
  const ended = (how: string, step: number | null): Promise<void> =>
    attempts.put(execution.attemptPrefix, { ...record, ended: { at: new Date().toISOString(), how, step } });
  let done: Done;
  try {
    done = await runTrainer({
      python: deps.python,
      command: 'train',
      spec: trainerSpec({
        spec,
        trainKey,
        modelDir,
        filteredDir,
        resumeFrom: found?.folder ?? null,
        leaveOutSteps: request.leaveOutSteps,
      }),
      runDir: folder.runDir,
      attempt: execution.attemptPrefix,
      cacheDir: deps.cacheDir,
      ranks: deps.ranks,
      signal: context.signal,
      deadlines: spec.policy.phaseDeadlineSeconds,
      graceSeconds: deps.graceSeconds,
      onAlive: () => context.progress(0),
      onEvent: (event) => {
        view.take(event);
        context.describe({ ...view.details });
        context.progress();
        if (event.type === 'plan') plan = event;
        if (event.type !== 'checkpoint') return;
        const saved = { step: event.step, folder: event.path, bytes: event.bytes };
        // The artifact follows at once on the final one, unless something comes between.
        if (event.reason === 'final') final = saved;
        else publisher.add(saved);
      },
    });
  } catch (error) {
    if (final !== null) publisher.add(final);
    await publisher
      .settled()
      .catch((reason: unknown) => deps.log.warn({ err: reason }, 'the last checkpoint stayed on this host'));
    const how = isReverieFailure(error) ? error.type : 'error';
    // A trainer killed from outside left no word either: attempts that die so in a row are no progress.
    const spoke = !(isReverieFailure(error) && error.type === 'Preempted' && !context.signal.aborted);
    if (spoke) await ended(how, view.details.step);
    context.signal.throwIfAborted();
    if (isReverieFailure(error)) error.details.checkpointStep = view.details.checkpointStep;
    throw error;
  }
  await publisher.settled().catch(() => {});
  await ended('done', done.step);
  if (plan === null)
    throw new Error('the trainer ended without a plan event; expected one; use a trainer of this version');

  // Written last, with the final validation, which comes after the final checkpoint.
  const historyFile = join(folder.runDir, 'history.jsonl');
  const history = await readHistory(historyFile);
  const summary = summarise(plan, done, history, spec.train.microBatchSize);
  await cp(done.path, join(context.dir, 'model'), { recursive: true });
  await copyFile(historyFile, join(context.dir, 'history.jsonl'));
  await writeFile(
    join(context.dir, 'training.json'),
    JSON.stringify({ plan, done, attempts: await attempts.list() }, null, 2),
  );
  return summary;
}

/**
 * The newest verified checkpoint that left out just the batches that this attempt leaves out. Throws CheckpointLost
 * where the run has seen a later step committed and nothing damaged accounts for it.
 */
async function newestFitting(
  { request, trainKey, deps, context }: TrainAttempt,
  checkpoints: Checkpoints,
  localRoot: string,
): Promise<FetchedCheckpoint | null> {
  let damaged = 0;
  let belowStep = Math.min(Number.POSITIVE_INFINITY, ...request.leaveOutSteps);
  for (;;) {
    const found = await checkpoints.fetchNewest(localRoot, {
      identity: trainKey,
      transfer: context.transfer,
      ...(Number.isFinite(belowStep) && { belowStep }),
      onDamaged: (where, reason) => {
        damaged++;
        deps.log.warn({ where, reason }, 'damaged checkpoint passed over');
      },
    });
    const leftOut = found === null ? [] : leftOutSteps(await readHistory(join(found.folder, 'history.jsonl')));
    if (found !== null && leftOut.some((step) => !request.leaveOutSteps.includes(step))) {
      belowStep = found.step;
      continue;
    }
    const { seenStep } = request;
    const explained = damaged > 0 || request.leaveOutSteps.length > 0;
    if (seenStep !== null && (found?.step ?? 0) < seenStep && !explained) {
      throw new ReverieFailure(
        'CheckpointLost',
        `The newest checkpoint in ${deps.store.url} is of step ${found?.step ?? 0}; expected step ${seenStep} or later, which this run has seen committed; look whether objects were deleted or another store is configured. Nothing was trained again.`,
        { seenStep, foundStep: found?.step ?? 0 },
      );
    }
    return found;
  }
}
