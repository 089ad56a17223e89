/** The activity `filter`: rows that training and evaluation can use, by the model's own tokenizer. */
import type { RunSpec } from '../../contracts/run-spec.ts';
import { filterKey } from '../../contracts/stage-keys.ts';
import type { ArtifactRef, FilterSummary, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { runStage } from '../stage.ts';
import { ModelTokenizer } from '../tokenizer.ts';
import { filterSplits } from './filter.ts';

export interface FilterActivityInput {
  spec: RunSpec;
  converted: ArtifactRef;
  model: ArtifactRef;
}

export function createFilterActivities(deps: ActivityDeps) {
  return asActivities({
    async filter({ spec, converted, model }: FilterActivityInput): Promise<StageResult<FilterSummary>> {
      return runStage({
        deps,
        stage: 'filter',
        key: filterKey(spec, converted, model),
        async work({ dir, transfer, ...turn }) {
          const from = await deps.artifacts.fetch(converted, transfer);
          const folder = await deps.artifacts.fetch(model, transfer, (path) => !path.endsWith('.safetensors'));
          const tokenizer = await ModelTokenizer.load(folder);
          return filterSplits({ from, to: dir, spec, tokenizer, ...turn });
        },
      });
    },
  });
}
