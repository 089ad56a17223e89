/** Keeps what Temporal's UI shows of a run in step with its record: the details pane and the search attributes. */
import type { SearchAttributePair } from '@temporalio/common';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { RunSpec } from '../contracts/run-spec.ts';
import { type StageName, stageNames } from '../contracts/stages.ts';
import { details } from './details.ts';
import { attributes } from './messages.ts';
import type { RunRecord } from './run-record.ts';

/** The function to call after every change; an upsert costs a history event, so only what differs is written. */
export function createShow(run: RunRecord, spec: () => RunSpec | null, frugal: boolean): () => void {
  const shown = new Map<string, unknown>();
  let come: StageName | null = null;
  /** A stage that fails and outlasts what went on beside it does not bring the attribute back to itself. */
  const stage = (): StageName | null => {
    if (!frugal) return run.furthest;
    if (run.parked !== null) return run.parked.stage;
    const at = run.ahead;
    if (at !== null && (come === null || isBefore(come, at))) come = at;
    return come;
  };
  return () => {
    setCurrentDetails(details(run.status(spec()?.policy)));
    const news = attributesOf(run, spec(), stage()).filter(({ key, value }) => shown.get(key.name) !== value);
    if (news.length === 0) return;
    for (const { key, value } of news) shown.set(key.name, value);
    upsertSearchAttributes(news);
  };
}

const isBefore = (a: StageName, b: StageName): boolean => stageNames.indexOf(a) < stageNames.indexOf(b);

function attributesOf(run: RunRecord, spec: RunSpec | null, stage: StageName | null): SearchAttributePair[] {
  const { step, accuracy } = run;
  const pairs: SearchAttributePair[] = [{ key: attributes.state, value: run.state }];
  // Between two stages the last one stays.
  if (stage !== null) pairs.push({ key: attributes.stage, value: stage });
  if (spec !== null) {
    pairs.push({ key: attributes.model, value: spec.model.source });
    pairs.push({ key: attributes.dataset, value: spec.dataset.source });
  }
  if (step !== null) pairs.push({ key: attributes.step, value: step });
  if (accuracy?.tuned != null) pairs.push({ key: attributes.accuracy, value: accuracy.tuned });
  return pairs;
}
