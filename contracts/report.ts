/** What a report is rendered from: everything that the workflow knows about a run, without the artifacts' contents. */
import type { Cost } from './cost.ts';
import type { TrainingLedger } from './ledger.ts';
import type { RunSpec } from './run-spec.ts';
import type {
  ArtifactRef,
  ConvertSummary,
  EvalSummary,
  FilterSummary,
  PinnedSource,
  PromoteSummary,
  TrainSummary,
} from './stages.ts';
import type { Incident, StageStatus } from './workflow-api.ts';

export interface ReportInput {
  /** As it was followed: with the changes that `resume` made. */
  spec: RunSpec;
  run: RunInfo;
  sources: { dataset: PinnedSource; model: PinnedSource };
  artifacts: {
    dataset: ArtifactRef;
    model: ArtifactRef;
    converted: ArtifactRef;
    filtered: ArtifactRef;
    train: ArtifactRef;
    evalBase: ArtifactRef;
    evalTuned: ArtifactRef;
  };
  summaries: {
    convert: ConvertSummary;
    filter: FilterSummary;
    train: TrainSummary;
    evalBase: EvalSummary;
    evalTuned: EvalSummary;
  };
  /** All stages in their order; the report's own is still running. */
  stages: StageStatus[];
  incidents: Incident[];
  /** Attempts at training: 0 when it was served from the store, 1 when nothing happened. */
  attempts: number;
  gpuHours: number;
  /** Absent in a run that was begun by an earlier version. */
  cost?: Cost | undefined;
  /** Null where no attempt has left an account; absent in a run that was begun by an earlier version. */
  ledger?: TrainingLedger | null | undefined;
  /** Null where promotion was not asked for. */
  promote: PromoteSummary | null;
}

export interface RunInfo {
  workflowId: string;
  runId: string;
  /** ISO 8601, UTC; the only time in a report, so that the same input gives the same bytes. */
  startedAt: string;
  /** The run's page in Temporal's UI, where it is known. */
  uiUrl: string | null;
}

export interface PromoteInput {
  spec: RunSpec;
  run: RunInfo;
  model: PinnedSource;
  dataset: PinnedSource;
  train: ArtifactRef;
  evalBase: ArtifactRef;
  evalTuned: ArtifactRef;
  weightsSha256: string;
}
