/**
 * One attempt at a training: find the newest verified checkpoint, run the trainer from it, bring its checkpoints up
 * behind it, and make the artifact. Knows nothing of Temporal; killed at any moment, the next attempt goes on.
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isReverieFailure } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { ArtifactRef, TrainSummary } from '../../contracts/stages.ts';
import type { GpuUse } from '../../contracts/workflow-api.ts';
import { type Cap, startCap } from '../cap.ts';
import { giveUpAfter } from '../give-up-after.ts';
import type { Execution, GpuDeps } from '../gpu-deps.ts';
import type { StageContext } from '../stage.ts';
import { watchGpuUse } from '../trainer/gpu-use.ts';
import type { ProgressView } from '../trainer/progress.ts';
import { runTrainer } from '../trainer/run-trainer.ts';
import { type AttemptLog, completeRecord } from './attempt-log.ts';
import { Attempts } from './attempts.ts';
import type { TrainingMetrics } from './metrics.ts';
import { Publisher, type Saved } from './publisher.ts';
import { fetchStart, type Start } from './start.ts';
import { type Done, type Plan, readHistory, summarise, trainingRecord, writeHistory } from './summary.ts';
import { Tracking } from './tracking.ts';
import { dropOlder, openTrainingFolder, type TrainingFolder } from './training-folder.ts';

export interface TrainRequest {
  spec: RunSpec;
  filtered: ArtifactRef;
  model: ArtifactRef;
  /** The highest step whose checkpoint the run has heard of; null for none. */
  seenStep: number | null;
  /** Steps whose batch diverged, to be left out. */
  leaveOutSteps: number[];
  /** GPU-seconds of the run beside this training, as far as it knows; absent in one begun by an earlier version. */
  gpuSecondsElsewhere?: number;
}

export interface TrainAttempt {
  request: TrainRequest;
  trainKey: string;
  deps: GpuDeps;
  execution: Execution;
  context: StageContext;
  view: ProgressView;
  log: AttemptLog;
  metrics: TrainingMetrics;
}

export async function train(attempt: TrainAttempt): Promise<TrainSummary> {
  const { request, trainKey, deps, execution, context, log } = attempt;
  const attempts = new Attempts(deps.store, trainKey);
  const folder = await openTrainingFolder(deps.cacheDir, trainKey, execution.attemptPrefix, (dead, remains) =>
    completeRecord(attempts, dead, join(remains, 'events.jsonl')),
  );
  let cap: Cap | null = null;
  try {
    await log.begin();
    cap = startCap({
      policy: request.spec.policy,
      gpuSeconds: (request.gpuSecondsElsewhere ?? 0) + log.gpuSeconds(),
      gpus: deps.gpus,
      signal: context.signal,
      graceSeconds: deps.graceSeconds,
    });
    return await trainIn(folder, attempt, cap);
  } finally {
    cap?.clear();
    await folder.release();
  }
}

async function trainIn(folder: TrainingFolder, attempt: TrainAttempt, cap: Cap): Promise<TrainSummary> {
  const { request, trainKey, deps, execution, view, log } = attempt;
  const { spec } = request;
  const start = await fetchStart(attempt, folder);
  const { found, checkpoints } = start;
  const fromStep = found?.step ?? 0;
  await dropOlder(folder.checkpoints, fromStep);
  await checkpoints.sweepLeftovers(execution.attemptPrefix);
  await log.startsFrom(fromStep);
  deps.log.info({ trainKey, attempt: execution.attempt, fromStep, source: found?.source ?? null }, 'training starts');
  view.startsFrom(fromStep);
  const tracking = new Tracking({
    ...{ store: deps.store, python: deps.python, log: deps.log, train: spec.train, trainKey, fromStep },
    ...{ workflowId: execution.workflowId, runDir: folder.runDir },
    // In order, whatever the clocks of their hosts say.
    attempt: `${String(log.number).padStart(4, '0')}.${execution.attemptPrefix}`,
    began: log.trainingBegan,
    onNotice: (notice) => log.notice(notice),
  });
  const ended = new AbortController();
  const onGpuUse = (gpus: GpuUse[]): void => {
    view.details.gpus = gpus;
    tracking.gpuUse(gpus);
  };
  void watchGpuUse(onGpuUse, ended.signal);
  try {
    return await trainFrom(start, tracking, folder, attempt, cap);
  } finally {
    ended.abort();
    await tracking.end();
  }
}

async function trainFrom(
  { checkpoints, trainerSpec, kernels }: Start,
  tracking: Tracking,
  folder: TrainingFolder,
  { request, deps, execution, context, view, log, metrics }: TrainAttempt,
  cap: Cap,
): Promise<TrainSummary> {
  const { spec } = request;
  // Uploads outlive a stop by the notice: the last checkpoint is what it was given for.
  const publisher = new Publisher({
    checkpoints,
    attempt: execution.attemptPrefix,
    log: deps.log,
    transfer: view.counting('bytesUploaded', {
      signal: giveUpAfter(context.signal, deps.graceSeconds),
      onBytes: (bytes) => context.progress(bytes),
    }),
    onCommitted: ({ step }) => {
      view.committed(step);
      metrics.committed();
      log.putSoon();
    },
  });
  let plan: Plan | null = null;
  let stepsHere = 0;
  let final: Saved | null = null;
  let done: Done;
  try {
    done = await runTrainer({
      python: deps.python,
      command: 'train',
      spec: trainerSpec,
      args: kernels === null ? [] : ['--kernels', kernels.file],
      runDir: folder.runDir,
      attempt: execution.attemptPrefix,
      cacheDir: deps.cacheDir,
      ranks: deps.ranks,
      signal: cap.signal,
      deadlines: spec.policy.phaseDeadlineSeconds,
      graceSeconds: cap.graceSeconds,
      onAlive: () => context.progress(0),
      onEvent: (event) => {
        view.details.gpuSeconds = log.gpuSeconds();
        const goodput = log.take(event);
        view.take(event, goodput);
        metrics.take(event, goodput);
        tracking.take(event);
        context.progress();
        if (event.type === 'plan') plan = event;
        // The file is written behind the first step.
        if (event.type === 'step' && ++stepsHere === 2) void kernels?.share();
        if (event.type !== 'checkpoint') return;
        const saved = { step: event.step, folder: event.path, bytes: event.bytes };
        // The artifact follows at once on the final one, unless something comes between.
        if (event.reason === 'final') final = saved;
        else publisher.add(saved);
      },
    }).finally(() => void tracking.end());
  } catch (error) {
    if (final !== null) publisher.add(final);
    await publisher
      .settled()
      .catch((reason: unknown) => deps.log.warn({ err: reason }, 'the last checkpoint stayed on this host'));
    context.signal.throwIfAborted();
    const failure = cap.explain(error);
    if (isReverieFailure(failure)) failure.details.checkpointStep = view.details.checkpointStep;
    throw failure;
  }
  await publisher.settled().catch(() => {});
  if (plan === null)
    throw new Error('the trainer ended without a plan event; expected one; use a trainer of this version');

  // Written last, with the final validation, which comes after the final checkpoint.
  const historyFile = join(folder.runDir, 'history.jsonl');
  const history = await readHistory(historyFile);
  const summary = summarise(plan, done, history, spec.train.microBatchSize);
  await cp(done.path, join(context.dir, 'model'), { recursive: true });
  await writeFile(join(context.dir, 'history.jsonl'), writeHistory(history));
  await writeFile(join(context.dir, 'training.json'), JSON.stringify(trainingRecord(summary), null, 2));
  return summary;
}
