/** The activity `convert`: the data set's rows become the two files that every later stage reads. */
import type { RunSpec } from '../../contracts/run-spec.ts';
import { convertKey } from '../../contracts/stage-keys.ts';
import type { ArtifactRef, ConvertSummary, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { runStage } from '../stage.ts';
import { convertDataset } from './convert.ts';

export interface ConvertActivityInput {
  spec: RunSpec;
  dataset: ArtifactRef;
}

export function createConvertActivities(deps: ActivityDeps) {
  return asActivities({
    async convert({ spec, dataset }: ConvertActivityInput): Promise<StageResult<ConvertSummary>> {
      return runStage({
        deps,
        stage: 'convert',
        key: convertKey(spec, dataset),
        async work({ dir, transfer, ...turn }) {
          const from = await deps.artifacts.fetch(dataset, transfer);
          return convertDataset({ from, to: dir, dataset: spec.dataset, ...turn });
        },
      });
    },
  });
}
