/** The activity `promote`: makes a tuned model the champion of its name, where the evaluation bears it out. */
import type { PromoteInput } from '../../contracts/report.ts';
import type { PromoteSummary } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { comparePairs, pairAnswers } from '../eval/compare.ts';
import { readPredictions } from '../eval/read-evaluation.ts';
import { asActivities } from '../failure.ts';
import { withHeartbeat } from '../stage.ts';
import { promote } from './promote.ts';

export function createPromoteActivities(deps: ActivityDeps) {
  return asActivities({
    async promote(input: PromoteInput): Promise<PromoteSummary> {
      return withHeartbeat(async (beat) => {
        const base = await readPredictions(deps.artifacts, input.evalBase, beat.transfer);
        const tuned = await readPredictions(deps.artifacts, input.evalTuned, beat.transfer);
        beat.progress();
        return promote(deps.store, input, comparePairs(pairAnswers(base, tuned)));
      });
    },
  });
}
