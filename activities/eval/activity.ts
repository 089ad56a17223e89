/** The eval stage, of base and tuned model alike: its look-up for the CPU queue, and the work for a GPU worker. */
import { isReverieFailure } from '../../contracts/failures.ts';
import { evalKey } from '../../contracts/stage-keys.ts';
import type { EvalSummary, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { execution, noteTo } from '../execution.ts';
import { asActivities } from '../failure.ts';
import type { GpuDeps } from '../gpu-deps.ts';
import { lookUpStage, runStage, type StageContext } from '../stage.ts';
import { ProgressView } from '../trainer/progress.ts';
import { asTrainerFailure } from '../trainer/run-trainer.ts';
import { type EvalRequest, evaluate } from './evaluate.ts';

type Look = Pick<EvalRequest, 'spec' | 'filtered' | 'model'>;

export function createEvalLookUp(deps: ActivityDeps) {
  return asActivities({
    lookUpEval: ({ spec, filtered, model }: Look): Promise<StageResult<EvalSummary> | null> =>
      lookUpStage({ deps, stage: 'eval', key: evalKey(spec, filtered, model) }),
  });
}

export function createEvalActivities(deps: GpuDeps) {
  return asActivities({
    async evaluate(request: EvalRequest): Promise<StageResult<EvalSummary>> {
      const key = evalKey(request.spec, request.filtered, request.model);
      const here = execution();
      const stage = request.which === 'base' ? 'eval base' : 'eval tuned';
      const view = new ProgressView({ stage, attempt: here.attempt, host: deps.host, note: noteTo(deps.log) });
      const work = (context: StageContext) => {
        context.describe(view.details);
        return evaluate({ request, evalKey: key, deps, execution: here, context, view });
      };
      const startedMs = performance.now();
      try {
        const result = await runStage({ deps, stage: 'eval', key, work });
        return { ...result, attempt: here.attempt, gpuSeconds: result.seconds * deps.gpus };
      } catch (error) {
        if (isReverieFailure(error)) error.details.gpuSeconds = ((performance.now() - startedMs) / 1000) * deps.gpus;
        throw asTrainerFailure(error);
      }
    },
  });
}
