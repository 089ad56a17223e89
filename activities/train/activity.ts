/** The train stage: its look-up for the CPU queue, and one attempt at it for a GPU worker. */
import { trainKey } from '../../contracts/stage-keys.ts';
import type { StageResult, TrainSummary } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { execution, noteTo } from '../execution.ts';
import { asActivities } from '../failure.ts';
import type { GpuDeps } from '../gpu-deps.ts';
import { lookUpStage, runStage } from '../stage.ts';
import { ProgressView } from '../trainer/progress.ts';
import { asTrainerFailure } from '../trainer/run-trainer.ts';
import { type TrainRequest, train } from './train.ts';
import { dropTrainingFolder } from './training-folder.ts';

type Look = Pick<TrainRequest, 'spec' | 'filtered' | 'model'>;

export function createTrainLookUp(deps: ActivityDeps) {
  return asActivities({
    lookUpTrain: ({ spec, filtered, model }: Look): Promise<StageResult<TrainSummary> | null> =>
      lookUpStage({ deps, stage: 'train', key: trainKey(spec, filtered, model) }),
  });
}

export function createTrainActivities(deps: GpuDeps) {
  return asActivities({
    async train(request: TrainRequest): Promise<StageResult<TrainSummary>> {
      const key = trainKey(request.spec, request.filtered, request.model);
      const here = execution();
      const view = new ProgressView({ stage: 'train', attempt: here.attempt, host: deps.host, note: noteTo(deps.log) });
      const work = (context: Parameters<Parameters<typeof runStage>[0]['work']>[0]) =>
        train({ request, trainKey: key, deps, execution: here, context, view });
      try {
        const { graceSeconds } = deps;
        const result = await runStage({ deps, stage: 'train', key, work, graceSeconds });
        // Not before: the last checkpoint stands for the work until its artifact does.
        await dropTrainingFolder(deps.cacheDir, key, here.attemptPrefix);
        return { ...result, attempt: here.attempt };
      } catch (error) {
        throw asTrainerFailure(error);
      }
    },
  });
}
