/** The download stages: the data set's files as they came, and the model with a tokenizer.json. */
import type { RunSpec } from '../../contracts/run-spec.ts';
import { datasetKey, modelKey } from '../../contracts/stage-keys.ts';
import type { DownloadSummary, PinnedSource, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { runStage } from '../stage.ts';
import { forgetDownload, saveDataset, saveModel } from './download.ts';

export function createDownloadActivities(deps: ActivityDeps) {
  return asActivities({
    async downloadDataset(input: { spec: RunSpec; dataset: PinnedSource }): Promise<StageResult<DownloadSummary>> {
      const { spec, dataset: pinned } = input;
      const { split } = spec.dataset;
      const result = await runStage({
        deps,
        stage: 'dataset',
        key: datasetKey(pinned, split),
        work: ({ dir, transfer }) => saveDataset({ pinned, split, deps, dir, transfer }),
      });
      await forgetDownload('dataset', pinned, deps);
      return result;
    },

    async downloadModel({ model: pinned }: { model: PinnedSource }): Promise<StageResult<DownloadSummary>> {
      const result = await runStage({
        deps,
        stage: 'model',
        key: modelKey(pinned),
        work: ({ dir, transfer }) => saveModel({ pinned, deps, dir, transfer }),
      });
      await forgetDownload('model', pinned, deps);
      return result;
    },
  });
}
