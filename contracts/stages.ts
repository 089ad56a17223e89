/** What each stage leaves behind: artifacts by reference, and the small numbers that cross Temporal. */
import type { TrainingLedger } from './ledger.ts';
import type { Notice } from './workflow-api.ts';

/** Folders under `artifacts/` in the store. Base and tuned model are evaluated by the same stage. */
export type ArtifactStage = 'dataset' | 'model' | 'convert' | 'filter' | 'train' | 'eval' | 'report';

/** Stages as a person sees them in status, report and UI, in their order. */
export const stageNames = [
  'resolve',
  'download dataset',
  'download model',
  'convert',
  'filter',
  'train',
  'eval base',
  'eval tuned',
  'promote',
  'report',
] as const;
export type StageName = (typeof stageNames)[number];

export interface ArtifactRef {
  stage: ArtifactStage;
  /** SHA-256 over the stage, its version, input digests and parameters: names the folder. */
  key: string;
  /** SHA-256 over the files' paths, sizes and hashes: what later stages are keyed by. */
  digest: string;
}

/** `artifacts/<stage>/<key>/manifest.json`, written last: its presence is the commit. */
export interface ArtifactManifest<Summary = unknown> {
  version: 1;
  stage: ArtifactStage;
  key: string;
  digest: string;
  files: ManifestFile[];
  /** Small numbers about the artifact, served again on a hit. */
  summary: Summary;
  /** ISO 8601, UTC. */
  committedAt: string;
}

export interface ManifestFile {
  /** Relative, with forward slashes. */
  path: string;
  size: number;
  sha256: string;
}

export interface StageResult<Summary> extends Partial<TrainingStory> {
  artifact: ArtifactRef;
  cached: boolean;
  /** Wall time of the stage's own work in this run: 0 on a hit. */
  seconds: number;
  /** Of a GPU stage that ran: which of Temporal's attempts finished it, from 1. */
  attempt?: number;
  summary: Summary;
}

/** Of a training, over all its attempts: measured, so no part of the artifact. */
export interface TrainingStory {
  ledger: TrainingLedger;
  /** Over this run's attempts alone, whether they came through or not. */
  gpuSeconds: number;
  /** By this run's attempts; told already, unless the word did not arrive. */
  notices: Notice[];
}

/** A source pinned for good: a Hub commit, or the digest of a folder's content. */
export interface PinnedSource {
  source: string;
  revision: string;
}

export interface DownloadSummary {
  source: string;
  revision: string;
  files: number;
  bytes: number;
}

export interface ConvertSummary {
  rows: number;
  train: number;
  validation: number;
  columns: string[];
  mapping: { question: string; response: string; trace: string | null; reference: string };
}

export interface FilterSplitSummary {
  kept: number;
  /** Rows removed, by reason. */
  rejected: Partial<Record<RejectReason, number>>;
}
export type RejectReason = 'over-long' | 'empty' | 'unlabelled';

export interface FilterSummary {
  train: FilterSplitSummary;
  validation: FilterSplitSummary;
  maxTokens: number;
  /** Lengths in tokens over all rows before filtering. */
  lengths: Describe;
  over: { threshold: number; rows: number }[];
}

/** As pandas' `describe()`: sample standard deviation, linear quartiles. */
export interface Describe {
  count: number;
  mean: number;
  std: number;
  min: number;
  p25: number;
  p50: number;
  p75: number;
  max: number;
}

export interface TrainSummary {
  steps: number;
  stepsPerEpoch: number;
  rows: number;
  parameters: number;
  finalLoss: number;
  firstValidationLoss: number | null;
  validationLoss: number | null;
  weightsSha256: string;
  device: string;
  ranks: number;
  recipe: string;
  torch: string;
  /** Sum over steps that count, replayed ones excluded. */
  stepSeconds: number;
  tokens: number;
  peakMemoryBytes: number;
  leftOutSteps: number[];
  microBatchSize: number;
  /** Of one GPU; absent without one. */
  deviceMemoryBytes?: number;
  /** Absent where a checkpoint of an earlier version did not tell its rows. */
  samples?: SampleLedger;
}

/** What the training has learned from, counted over the rows of every step that is part of the result. */
export interface SampleLedger {
  /** Rows of the training data. */
  rows: number;
  epochs: number;
  /** Samples fed, epoch by epoch, those of left-out batches included. */
  seen: number;
  /** Seen more than once in an epoch. */
  duplicates: number;
  /** Never seen in an epoch that is over. */
  dropped: number;
  /** In batches left out after a divergence. */
  leftOut: number;
}

export interface EvalSummary {
  samples: number;
  correct: number;
  incorrect: number;
  ungradable: number;
  /** correct ÷ (correct + incorrect); null when nothing could be graded. */
  accuracy: number | null;
  newTokens: number;
  generationSeconds: number;
  /** Of the cached sampler with the exact one; absent where the exact one is used. */
  agreement?: SamplerAgreement;
}

/** What the cached sampler makes of the rows that the exact one has answered as well. */
export interface SamplerAgreement {
  samples: number;
  sameText: number;
  sameVerdict: number;
  /** By either sampler. */
  correct: { cached: number; exact: number };
}

export interface PromoteSummary {
  promoted: boolean;
  reason: string;
  champion: string | null;
}

export interface ReportSummary {
  /** Store keys. */
  markdown: string;
  html: string;
  json: string;
  headline: string;
  /** `report.md` of the run that made what an unchanged run was served; absent where it is not known. */
  earlier?: string;
}
