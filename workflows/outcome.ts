/** What a run that came through hands on: the report's input, promotion's, and the workflow's result. */
import type { PromoteInput, ReportInput, RunInfo } from '../contracts/report.ts';
import type { RunSpec } from '../contracts/run-spec.ts';
import type {
  ConvertSummary,
  DownloadSummary,
  EvalSummary,
  FilterSummary,
  PromoteSummary,
  ReportSummary,
  StageResult,
  TrainSummary,
} from '../contracts/stages.ts';
import type { RunResult } from '../contracts/workflow-api.ts';
import type { RunRecord } from './run-record.ts';
import type { Sources } from './stages.ts';

/** Everything that the stages before the report have left. */
export interface Results {
  dataset: StageResult<DownloadSummary>;
  model: StageResult<DownloadSummary>;
  converted: StageResult<ConvertSummary>;
  filtered: StageResult<FilterSummary>;
  trained: StageResult<TrainSummary>;
  evalBase: StageResult<EvalSummary>;
  evalTuned: StageResult<EvalSummary>;
}

interface Told {
  spec: RunSpec;
  info: RunInfo;
  sources: Sources;
  results: Results;
}

export function promoteInput({ spec, info, sources, results }: Told): PromoteInput {
  const { trained, evalBase, evalTuned } = results;
  return {
    spec,
    run: info,
    model: sources.model,
    dataset: sources.dataset,
    train: trained.artifact,
    evalBase: evalBase.artifact,
    evalTuned: evalTuned.artifact,
    weightsSha256: trained.summary.weightsSha256,
  };
}

export function reportInput(told: Told, run: RunRecord, promote: PromoteSummary | null): ReportInput {
  const { spec, info, sources, results } = told;
  const { dataset, model, converted, filtered, trained, evalBase, evalTuned } = results;
  return {
    spec,
    run: info,
    sources: { dataset: sources.dataset, model: sources.model },
    artifacts: {
      dataset: dataset.artifact,
      model: model.artifact,
      converted: converted.artifact,
      filtered: filtered.artifact,
      train: trained.artifact,
      evalBase: evalBase.artifact,
      evalTuned: evalTuned.artifact,
    },
    summaries: {
      convert: converted.summary,
      filter: filtered.summary,
      train: trained.summary,
      evalBase: evalBase.summary,
      evalTuned: evalTuned.summary,
    },
    stages: run.stages,
    incidents: run.incidents,
    attempts: run.attempts,
    gpuHours: run.gpuSeconds / 3600,
    cost: run.cost(spec.policy),
    ledger: run.ledger,
    promote,
  };
}

export function runResult(run: RunRecord, weightsSha256: string, report: ReportSummary): RunResult {
  return {
    state: run.unchanged ? 'unchanged' : 'done',
    report: report.markdown,
    earlierReport: report.earlier ?? null,
    headline: report.headline,
    accuracy: run.accuracy ?? { base: null, tuned: null, n: 0 },
    stages: run.stages.map(({ name, state, seconds }) => ({ name, cached: state === 'cached', seconds: seconds ?? 0 })),
    attempts: run.attempts,
    weightsSha256,
  };
}
