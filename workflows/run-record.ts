/** The state of a run, in memory: what `status` answers and the details pane shows. No I/O, no Temporal. */
import type { RunState } from '../contracts/search-attributes.ts';
import { type StageName, stageNames } from '../contracts/stages.ts';
import type { Incident, ParkedStatus, Progress, RunStatus, StageStatus } from '../contracts/workflow-api.ts';
import type { FailureCounts, StageFailure } from './decisions.ts';

export class RunRecord {
  state: RunState = 'running';
  readonly stages: StageStatus[] = stageNames.map((name) => ({ name, state: 'waiting', seconds: null, note: null }));
  readonly incidents: Incident[] = [];
  readonly leaveOutSteps: number[] = [];
  progress: Progress | null = null;
  parked: ParkedStatus | null = null;
  /** The highest step whose checkpoint the run has heard of. */
  seenStep: number | null = null;
  attempts = 0;
  gpuSeconds = 0;
  accuracy: RunStatus['accuracy'] = null;
  weightsSha256: string | null = null;
  report: string | null = null;
  readonly #counts = new Map<StageName, FailureCounts>();

  stage(name: StageName): StageStatus {
    const found = this.stages.find((stage) => stage.name === name);
    if (!found) throw new RangeError(`no stage ${name}`);
    return found;
  }

  /** The stage that a person would name: the furthest one at work. */
  get current(): StageName | null {
    return this.stages.findLast(({ state }) => state === 'running')?.name ?? null;
  }

  counts(name: StageName): FailureCounts {
    return this.#counts.get(name) ?? {};
  }

  count(name: StageName, failure: StageFailure): void {
    const counts = this.counts(name);
    const type = failure.type ?? 'unknown';
    this.#counts.set(name, { ...counts, [type]: (counts[type] ?? 0) + 1 });
  }

  /** After a person has stepped in, every budget of the stage is whole again. */
  forgive(name: StageName): void {
    this.#counts.delete(name);
  }

  take(progress: Progress): void {
    this.progress = progress;
    if (progress.checkpointStep !== null) this.seenStep = Math.max(this.seenStep ?? 0, progress.checkpointStep);
  }

  /** Whether every stage was served from the store, so that nothing has changed since an earlier run. */
  get unchanged(): boolean {
    const counted = this.stages.filter(({ name }) => !['resolve', 'promote', 'report'].includes(name));
    return counted.every(({ state }) => state === 'cached');
  }

  status(): RunStatus {
    return {
      state: this.state,
      stage: this.current,
      stages: this.stages,
      incidents: this.incidents,
      progress: this.progress,
      parked: this.parked,
      attempts: this.attempts,
      gpuHours: this.gpuSeconds / 3600,
      accuracy: this.accuracy,
      weightsSha256: this.weightsSha256,
      report: this.report,
    };
  }
}
