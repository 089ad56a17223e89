/** The train stage: its look-up for the CPU queue, and one attempt at it for a GPU worker. */
import { isReverieFailure } from '../../contracts/failures.ts';
import { trainKey } from '../../contracts/stage-keys.ts';
import type { StageResult, TrainSummary } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { execution, metricMeter, noteTo } from '../execution.ts';
import { asActivities } from '../failure.ts';
import type { GpuDeps } from '../gpu-deps.ts';
import { lookUpStage, runStage, type StageContext } from '../stage.ts';
import { ProgressView } from '../trainer/progress.ts';
import { asTrainerFailure } from '../trainer/run-trainer.ts';
import { AttemptLog } from './attempt-log.ts';
import { Attempts } from './attempts.ts';
import { trainingLedger } from './ledger.ts';
import { TrainingMetrics } from './metrics.ts';
import { type TrainRequest, train } from './train.ts';
import { dropTrainingFolder } from './training-folder.ts';

type Look = Pick<TrainRequest, 'spec' | 'filtered' | 'model'>;

export function createTrainLookUp(deps: ActivityDeps) {
  return asActivities({
    async lookUpTrain({ spec, filtered, model }: Look): Promise<StageResult<TrainSummary> | null> {
      const key = trainKey(spec, filtered, model);
      const hit = await lookUpStage<TrainSummary>({ deps, stage: 'train', key });
      if (hit === null) return null;
      const ledger = trainingLedger(await new Attempts(deps.store, key).list());
      return ledger === null ? hit : { ...hit, ledger };
    },
  });
}

export function createTrainActivities(deps: GpuDeps) {
  return asActivities({
    async train(request: TrainRequest): Promise<StageResult<TrainSummary>> {
      const key = trainKey(request.spec, request.filtered, request.model);
      const here = execution();
      const view = new ProgressView({ stage: 'train', attempt: here.attempt, host: deps.host, note: noteTo(deps.log) });
      const log = new AttemptLog({
        attempts: new Attempts(deps.store, key),
        head: {
          prefix: here.attemptPrefix,
          ...{ workflowId: here.workflowId, attempt: here.attempt, host: deps.host, gpus: deps.gpus },
          ...{ leaveOutSteps: request.leaveOutSteps, microBatchSize: request.spec.train.microBatchSize },
        },
        log: deps.log,
        onNotice: (notice) => view.notice(notice),
      });
      const metrics = new TrainingMetrics(metricMeter());
      const work = (context: StageContext) => {
        context.describe(view.details);
        return train({ request, trainKey: key, deps, execution: here, context, view, log, metrics });
      };
      try {
        const { graceSeconds } = deps;
        const result = await runStage({ deps, stage: 'train', key, work, graceSeconds });
        // Not before: the last checkpoint stands for the work until its artifact does.
        await dropTrainingFolder(deps.cacheDir, key, here.attemptPrefix);
        // The commit was part of the attempt.
        await log.end('done');
        return { ...result, attempt: here.attempt, ...(await log.story()) };
      } catch (error) {
        const failure = asTrainerFailure(error);
        if (isReverieFailure(failure))
          Object.assign(failure.details, { attempt: here.attempt, gpuSeconds: log.gpuSeconds() });
        await log.failed(failure);
        throw failure;
      }
    },
  });
}
