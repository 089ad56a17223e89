/** The state of a run, in memory: what `status` answers and the details pane shows. No I/O, no Temporal. */
import { type Cost, costOf } from '../contracts/cost.ts';
import type { TrainingLedger } from '../contracts/ledger.ts';
import type { RunSpec } from '../contracts/run-spec.ts';
import type { RunState } from '../contracts/search-attributes.ts';
import { type StageName, type StageResult, stageNames, type TrainingStory } from '../contracts/stages.ts';
import {
  type Incident,
  isUnchanged,
  type Notice,
  type NoticeType,
  type ParkedStatus,
  type Progress,
  type RunStatus,
  type StageStatus,
} from '../contracts/workflow-api.ts';
import type { Decision, FailureCounts, StageFailure } from './decisions.ts';

/** Anybody can send a signal; what a run keeps of them is bounded. */
const MOST_NOTICES = 40;
const MESSAGE_CHARACTERS = 2000;

const noticeActions: Record<NoticeType, string> = {
  CheckpointPassedOver: 'an older checkpoint is taken',
  ReplayDiffers: 'training goes on; its weights may not be those of an undisturbed run to the bit',
  TrackerDown: 'training goes on; its curve is in the report all the same',
  NotificationGivenUp: 'the run goes on; look whether the receiver is up',
};

const isAtWork = ({ state }: StageStatus): boolean => state === 'running';

export class RunRecord {
  readonly stages: StageStatus[] = stageNames.map((name) => ({ name, state: 'waiting', seconds: null, note: null }));
  readonly incidents: Incident[] = [];
  readonly leaveOutSteps: number[] = [];
  progress: Progress | null = null;
  /** The highest step whose checkpoint the run has heard of. */
  seenStep: number | null = null;
  /** The optimizer step that training has come to, as far as the run has heard. */
  step: number | null = null;
  attempts = 0;
  accuracy: RunStatus['accuracy'] = null;
  weightsSha256: string | null = null;
  ledger: TrainingLedger | null = null;
  report: string | null = null;
  #ended: RunState | null = null;
  #training: string | null = null;
  /** GPU-seconds of each training, over all its attempts, and those of everything else. */
  readonly #trainings = new Map<string | null, number>();
  #otherGpuSeconds = 0;
  /** Two stages can wait at once; one resume takes both on. */
  readonly #parked = new Map<StageName, ParkedStatus>();
  readonly #counts = new Map<StageName, FailureCounts>();

  get state(): RunState {
    return this.#ended ?? (this.#parked.size > 0 ? 'parked' : 'running');
  }

  get parked(): ParkedStatus | null {
    return this.#ended === null ? ([...this.#parked.values()].at(-1) ?? null) : null;
  }

  stage(name: StageName): StageStatus {
    const found = this.stages.find((stage) => stage.name === name);
    if (!found) throw new RangeError(`no stage ${name}`);
    return found;
  }

  get gpuSeconds(): number {
    return [...this.#trainings.values()].reduce((sum, seconds) => sum + seconds, this.#otherGpuSeconds);
  }

  /** Without those of the training under way, whose attempts keep count of their own. */
  get gpuSecondsBesideTraining(): number {
    return this.gpuSeconds - (this.#trainings.get(this.#training) ?? 0);
  }

  /** A training tells the sum over its attempts so far, again and again; other stages what was spent just now. */
  spend(stage: StageName, gpuSeconds: number): void {
    if (stage !== 'train') this.#otherGpuSeconds += gpuSeconds;
    else this.#trainings.set(this.#training, Math.max(gpuSeconds, this.#trainings.get(this.#training) ?? 0));
  }

  /**
   * The stage that a person would name: the one that waits for them, or else the furthest one at work. The base model's
   * evaluation goes on beside the training, or waits for its GPU, so it is named where nothing else is at work.
   */
  get current(): StageName | null {
    return this.ahead ?? this.stages.find(isAtWork)?.name ?? null;
  }

  /** The same without what goes on beside, so that no failure there changes it. */
  get ahead(): StageName | null {
    const ahead = this.stages.findLast((stage) => isAtWork(stage) && stage.name !== 'eval base');
    return this.parked?.stage ?? ahead?.name ?? null;
  }

  /** What the search attribute named before `frugal`. */
  get furthest(): StageName | null {
    return this.parked?.stage ?? this.stages.findLast(isAtWork)?.name ?? null;
  }

  /** Served again after it was made in this very run, a stage is still one that worked. */
  finish<S>(name: StageName, { cached, seconds }: StageResult<S>, note: string): void {
    const stage = this.stage(name);
    if (cached && stage.seconds !== null && stage.seconds > 0) Object.assign(stage, { state: 'done', note });
    else Object.assign(stage, { state: cached ? 'cached' : 'done', seconds, note });
  }

  counts(name: StageName): FailureCounts {
    return this.#counts.get(name) ?? {};
  }

  /** Writes a failure down, with what is done about it. */
  judged(stage: StageName, { type, message, details }: StageFailure, { verdict, action }: Decision, at: Date): void {
    const counts = this.counts(stage);
    const counted = type ?? 'unknown';
    this.#counts.set(stage, { ...counts, [counted]: (counts[counted] ?? 0) + 1 });
    if (typeof details.checkpointStep === 'number') this.#seeCheckpoint(details.checkpointStep);
    if (typeof details.gpuSeconds === 'number') this.spend(stage, details.gpuSeconds);
    this.incidents.push({ stage, type: type ?? 'Unknown', message, verdict, action, at: at.toISOString() });
  }

  park(parked: ParkedStatus): void {
    this.#parked.set(parked.stage, parked);
  }

  unpark(name: StageName): void {
    this.#parked.delete(name);
  }

  /** After a person has stepped in, every budget of the stage is whole again. */
  forgive(name: StageName): void {
    this.#counts.delete(name);
  }

  end(state: RunState): void {
    this.#ended = state;
  }

  /** What was seen and left out belongs to one training; `parameters` says which. */
  beginTraining(parameters: string): void {
    if (parameters === this.#training) return;
    this.#training = parameters;
    this.seenStep = null;
    this.leaveOutSteps.length = 0;
  }

  take(progress: Progress): void {
    this.progress = progress;
    if (progress.stage === 'train') {
      this.step = progress.step;
      this.spend('train', progress.gpuSeconds ?? 0);
    }
    if (progress.checkpointStep !== null) this.#seeCheckpoint(progress.checkpointStep);
  }

  /** Told by signal and once more with the result; every attempt can meet the same damage anew. */
  notice(stage: StageName, { type, message, at }: Notice): void {
    const known = this.incidents.filter(({ verdict }) => verdict === 'go-on');
    const said = message.slice(0, MESSAGE_CHARACTERS);
    if (known.length >= MOST_NOTICES || known.some((it) => it.type === type && it.message === said)) return;
    this.incidents.push({ stage, type, message: said, verdict: 'go-on', action: noticeActions[type], at });
  }

  /** What a training's attempts have said and measured, those that failed included. */
  takeStory({ ledger, notices = [], gpuSeconds = 0 }: Partial<TrainingStory>): void {
    this.ledger = ledger ?? this.ledger;
    this.spend('train', gpuSeconds);
    for (const notice of notices) this.notice('train', notice);
  }

  #seeCheckpoint(step: number): void {
    if (step > 0) this.seenStep = Math.max(this.seenStep ?? 0, step);
  }

  /** Whether every stage was served from the store, so that nothing has changed since an earlier run. */
  get unchanged(): boolean {
    return isUnchanged(this.stages);
  }

  cost(policy: RunSpec['policy'] | null | undefined): Cost {
    return costOf(this.gpuSeconds, policy);
  }

  /** `policy` is null while no spec is known. */
  status(policy: RunSpec['policy'] | null = null): RunStatus {
    return {
      state: this.state,
      stage: this.current,
      stages: this.stages,
      incidents: this.incidents,
      progress: this.progress,
      parked: this.parked,
      attempts: this.attempts,
      gpuHours: this.gpuSeconds / 3600,
      cost: this.cost(policy),
      accuracy: this.accuracy,
      weightsSha256: this.weightsSha256,
      ledger: this.ledger,
      report: this.report,
    };
  }
}
