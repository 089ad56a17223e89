/** The names by which a run is asked and told; shapes are in contracts/workflow-api.ts. */
import { defineSearchAttributeKey } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { AbortRequest, Progress, ResumeRequest, RunStatus } from '../contracts/workflow-api.ts';

export const statusQuery = defineQuery<RunStatus>('status');
export const resumeUpdate = defineUpdate<string, [ResumeRequest?]>('resume');
export const abortUpdate = defineUpdate<string, [AbortRequest?]>('abort');
export const progressSignal = defineSignal<[Progress]>('progress');

/** The keys of contracts/search-attributes.ts, typed for upserts. */
export const attributes = {
  stage: defineSearchAttributeKey('ReverieStage', 'KEYWORD'),
  state: defineSearchAttributeKey('ReverieState', 'KEYWORD'),
  model: defineSearchAttributeKey('ReverieModel', 'KEYWORD'),
  dataset: defineSearchAttributeKey('ReverieDataset', 'KEYWORD'),
  step: defineSearchAttributeKey('ReverieStep', 'INT'),
  accuracy: defineSearchAttributeKey('ReverieAccuracy', 'DOUBLE'),
};
