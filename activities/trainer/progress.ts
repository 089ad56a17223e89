/** Turns a trainer's events into what people see: heartbeat details at once, notes to the workflow now and then. */
import type { StageName } from '../../contracts/stages.ts';
import type { TrainerEvent } from '../../contracts/trainer.ts';
import type { HeartbeatDetails, Notice, Progress } from '../../contracts/workflow-api.ts';
import type { Transfer } from '../store/store.ts';
import { ThinCurve } from './thin-curve.ts';

/**
 * Notes cost history, five events each in training and four in evaluation, and an undisturbed run has some 65 for them.
 * So their distance grows: three reach over 3 minutes, eight over 13 hours.
 */
const FIRST_NOTE_MS = 15_000;
const GROWTH = 3;
export const MOST_NOTES = { train: 8, eval: 3 };
/** Notices an attempt, on top. */
const MOST_NOTICES = 5;
/** What heartbeats tell and notes, which stay in history, do not; the compiler sees that none is forgotten. */
const LIVE_ONLY: Record<Exclude<keyof HeartbeatDetails, keyof Progress>, true> = {
  host: true,
  bytesRead: true,
  bytesUploaded: true,
  losses: true,
  gpus: true,
};
/** Weight of the newest step in the smoothed speed. */
const SMOOTHING = 0.1;

export interface ProgressOptions {
  stage: StageName;
  attempt: number;
  host: string;
  note: (progress: Progress) => void;
}

export class ProgressView {
  /** Kept up to date in place. */
  readonly details: HeartbeatDetails;
  readonly #note: (progress: Progress) => void;
  readonly #curve = new ThinCurve();
  #secondsPerUnit: number | null = null;
  #tokensPerSecond: number | null = null;
  #notes = 0;
  #notices = 0;
  #nextNoteMs: number;

  constructor({ stage, attempt, host, note }: ProgressOptions) {
    this.#note = note;
    this.#nextNoteMs = performance.now() + FIRST_NOTE_MS;
    this.details = {
      stage,
      phase: 'fetch',
      step: 0,
      steps: 0,
      loss: null,
      tokensPerSecond: null,
      etaSeconds: null,
      checkpointStep: null,
      checkpointAt: null,
      samplesDone: null,
      samples: null,
      attempt,
      at: new Date().toISOString(),
      host,
      bytesRead: 0,
      bytesUploaded: 0,
    };
  }

  /** `goodput` is of the training over all its attempts, where it is known. */
  take(event: TrainerEvent, goodput: number | null = null): void {
    const { details } = this;
    if (goodput !== null) details.goodput = goodput;
    details.at = new Date(event.at * 1000).toISOString();
    switch (event.type) {
      case 'phase':
        details.phase = event.phase;
        break;
      case 'plan':
        details.steps = event.steps;
        details.step = event.fromStep;
        break;
      case 'step':
        details.step = event.step;
        details.loss = event.loss;
        details.losses = this.#curve.add(event.loss);
        this.#pace(event.seconds, event.tokens);
        details.etaSeconds = (details.steps - event.step) * (this.#secondsPerUnit ?? 0);
        break;
      case 'shard':
        details.samplesDone = event.samplesDone;
        details.samples = event.samples;
        if (event.seconds > 0) this.#pace(event.seconds, event.tokens);
        break;
      default:
        return;
    }
    details.tokensPerSecond = this.#tokensPerSecond;
    this.#noteIfDue();
  }

  /** This attempt starts from a checkpoint that it has verified; 0 is none. */
  startsFrom(step: number): void {
    this.details.checkpointStep = step;
  }

  /** A checkpoint has been committed to the store; the next note tells the workflow. */
  committed(step: number): void {
    this.details.checkpointStep = Math.max(step, this.details.checkpointStep ?? 0);
    this.details.checkpointAt = new Date().toISOString();
  }

  /** Told at once; beyond a few an attempt's are told with its result. */
  notice(notice: Notice): void {
    if (this.#notices++ < MOST_NOTICES) this.#note({ ...this.#progress(), notices: [notice] });
  }

  /** The same transfer, with its bytes counted among the details. */
  counting(what: 'bytesRead' | 'bytesUploaded', transfer: Transfer): Transfer {
    return {
      ...transfer,
      onBytes: (bytes) => {
        this.details[what] += bytes;
        transfer.onBytes?.(bytes);
      },
    };
  }

  #pace(seconds: number, tokens: number): void {
    const mix = (old: number | null, now: number): number => (old === null ? now : old + SMOOTHING * (now - old));
    this.#secondsPerUnit = mix(this.#secondsPerUnit, seconds);
    if (seconds > 0) this.#tokensPerSecond = mix(this.#tokensPerSecond, tokens / seconds);
  }

  #noteIfDue(): void {
    const now = performance.now();
    const most = this.details.stage === 'train' ? MOST_NOTES.train : MOST_NOTES.eval;
    if (now < this.#nextNoteMs || this.#notes >= most) return;
    this.#notes++;
    this.#nextNoteMs = now + FIRST_NOTE_MS * GROWTH ** this.#notes;
    this.#note(this.#progress());
  }

  #progress(): Progress {
    const told = Object.entries(this.details).filter(([name]) => !(name in LIVE_ONLY));
    return Object.fromEntries(told) as unknown as Progress;
  }
}
