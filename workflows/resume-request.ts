/** Whether a `resume` may be accepted now, and why not: pure, for the update's validator and for tests. */
import { costOf, gpuSecondsLeft } from '../contracts/cost.ts';
import { changesSchema, type RunSpec } from '../contracts/run-spec.ts';
import { applyChanges, explainIssues } from '../contracts/spec-problems.ts';
import type { StageName } from '../contracts/stages.ts';
import type { ResumeRequest, StageStatus } from '../contracts/workflow-api.ts';
import type { RunRecord } from './run-record.ts';
import type { Changes } from './spec-in-force.ts';

/** Null when the request can be taken; otherwise a sentence for the person who made it. */
export function objectionTo(request: unknown, run: RunRecord, spec: RunSpec | null): string | null {
  if (request === null || typeof request !== 'object' || Array.isArray(request)) {
    return `resume got ${JSON.stringify(request)}; expected an object; write {} or {"changes": {"train": {"microBatchSize": 1}}}.`;
  }
  const unknown = Object.keys(request).filter((key) => key !== 'changes');
  if (unknown.length > 0) {
    return `resume does not know ${unknown.join(', ')}; expected only "changes"; write {"changes": {"train": {…}}} or {}.`;
  }
  const { changes } = request as ResumeRequest;
  if (changes !== undefined) {
    const problems = problemsOf(changes, spec);
    if (problems.length > 0) return `The changes were not taken. ${problems.join(' ')}`;
  }
  const capped = spec !== null && run.parked !== null ? stillCapped(spec, changes, run) : null;
  if (capped !== null) return capped;
  if (!hasChanges(changes)) {
    if (run.parked) return null;
    return `The run is ${run.state}, not parked; resume without changes has nothing to do; look at the status query.`;
  }
  const finished = settledStages(changes, run);
  if (finished.length > 0) {
    return `The changes were not taken: they would alter ${finished.join(' and ')}, which ${finished.length === 1 ? 'is' : 'are'} finished or at work; expected changes to what is still to come; start a new run with them, its unchanged stages are served from the store.`;
  }
  return null;
}

/** Going on under a cap that is used up would park the run again on the spot. */
function stillCapped(spec: RunSpec, changes: Changes | undefined, run: RunRecord): string | null {
  const applied = applyChanges(spec, changes ?? {});
  const { policy } = applied.ok ? applied.spec : spec;
  if (gpuSecondsLeft(run.gpuSeconds, policy) !== 0) return null;
  const { maxGpuHours, gpuHours } = costOf(run.gpuSeconds, policy);
  return `policy.maxGpuHours is ${maxGpuHours}, and ${gpuHours.toFixed(2)} GPU-hours are spent; expected a cap above that; write ${JSON.stringify({ changes: { policy: { maxGpuHours: 2 * Math.ceil(gpuHours) } } })}, or abort the run.`;
}

/** `{"changes": {"train": {}}}` asks for nothing. */
export function hasChanges(changes: Changes | undefined): changes is Changes {
  return Object.values(changes ?? {}).some((part) => part !== undefined && Object.keys(part).length > 0);
}

function problemsOf(changes: unknown, spec: RunSpec | null): string[] {
  if (spec !== null) {
    const applied = applyChanges(spec, changes);
    return applied.ok ? [] : applied.problems;
  }
  const parsed = changesSchema.safeParse(changes, { reportInput: true });
  return parsed.success ? [] : explainIssues(changesSchema, parsed.error);
}

/**
 * Stages that the changes would have to undo. Training takes them from its next attempt on; base and tuned model are
 * compared, so that one evaluation fixes the other; and the filter has left room for the answers' length.
 */
function settledStages({ train = {}, eval: evaluation = {} }: Changes, run: RunRecord): StageName[] {
  const within = (...states: StageStatus['state'][]) => {
    return (name: StageName): boolean => states.includes(run.stage(name).state);
  };
  const settled: StageName[] = [];
  if ('maxNewTokens' in Object(evaluation.sampler)) {
    settled.push(...(['filter'] as const).filter(within('done', 'cached', 'running')));
  }
  // The queue is where things run, not what they are.
  if (Object.keys(train).some((field) => field !== 'queue')) {
    settled.push(...(['train'] as const).filter(within('done', 'cached')));
  }
  if (Object.keys(evaluation).length > 0) {
    settled.push(...(['eval base', 'eval tuned'] as const).filter(within('done', 'cached', 'running')));
  }
  return settled;
}
