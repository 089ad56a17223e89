/** Whether a `resume` may be accepted now, and why not: pure, for the update's validator and for tests. */
import { changesSchema, type RunSpec } from '../contracts/run-spec.ts';
import { applyChanges, explainIssues } from '../contracts/spec-problems.ts';
import type { StageName } from '../contracts/stages.ts';
import type { ResumeRequest } from '../contracts/workflow-api.ts';
import type { RunRecord } from './run-record.ts';

/** Null when the request can be taken; otherwise a sentence for the person who made it. */
export function objectionTo(request: unknown, run: RunRecord, spec: RunSpec | null): string | null {
  if (request === null || typeof request !== 'object' || Array.isArray(request)) {
    return `resume got ${JSON.stringify(request)}; expected an object such as {} or {"changes": {"train": {"microBatchSize": 1}}}.`;
  }
  const unknown = Object.keys(request).filter((key) => key !== 'changes');
  if (unknown.length > 0) {
    return `resume does not know ${unknown.join(', ')}; expected only "changes"; write {"changes": {"train": {…}}} or {}.`;
  }
  const { changes } = request as ResumeRequest;
  if (changes === undefined) {
    return run.parked
      ? null
      : `The run is ${run.state}, not parked; resume without changes has nothing to do; look at the status query.`;
  }
  const problems = problemsOf(changes, spec);
  if (problems.length > 0) return `The changes were not taken. ${problems.join(' ')}`;
  const finished = finishedStages(changes, run);
  if (finished.length > 0) {
    return `The changes were not taken: they would alter ${finished.join(' and ')}, which is finished; start a new run with them, its unchanged stages are served from the store.`;
  }
  return null;
}

function problemsOf(changes: unknown, spec: RunSpec | null): string[] {
  if (spec !== null) {
    const applied = applyChanges(spec, changes);
    return applied.ok ? [] : applied.problems;
  }
  const parsed = changesSchema.safeParse(changes, { reportInput: true });
  return parsed.success ? [] : explainIssues(changesSchema, parsed.error);
}

function finishedStages(changes: NonNullable<ResumeRequest['changes']>, run: RunRecord): StageName[] {
  const touched: StageName[] = [
    ...(changes.train ? (['train'] as const) : []),
    ...(changes.eval ? (['eval base', 'eval tuned'] as const) : []),
  ];
  return touched.filter((name) => ['done', 'cached'].includes(run.stage(name).state));
}
