/** Divides the time of one attempt by what it went into, from the trainer's events and the time at which each came. */
import type { TrainerEvent, TrainerPhase } from '../../contracts/trainer.ts';
import type { Attempt } from './attempts.ts';

type Spent = Attempt['seconds'];

export class Meter {
  readonly #spent: Spent = {
    productive: 0,
    validation: 0,
    replayed: 0,
    lost: 0,
    saving: 0,
    starting: 0,
    waitingForData: 0,
    finishing: 0,
  };
  readonly #doneBefore: number;
  #phase: TrainerPhase = 'start';
  /** Seconds since the attempt began that have been assigned. */
  #assigned = 0;
  #step = 0;
  #steps = Number.POSITIVE_INFINITY;

  constructor(doneBefore: number) {
    this.#doneBefore = doneBefore;
  }

  /** `at` is in seconds since the attempt began. */
  take(event: TrainerEvent, at: number): void {
    switch (event.type) {
      case 'phase':
        this.#assign(this.#kind(), at);
        this.#phase = event.phase;
        break;
      case 'plan':
        this.#steps = event.steps;
        this.#step = event.fromStep;
        break;
      case 'step':
        this.#step = event.step;
        this.#spent.waitingForData += event.dataSeconds;
        this.#spent[this.#stepping()] += event.seconds - event.dataSeconds;
        this.#assigned += event.seconds;
        break;
      case 'checkpoint':
        // The last one, which the trainer waits for; what comes after it is its upload.
        if (event.reason !== 'preempted') break;
        this.#assign('saving', at);
        this.#phase = 'save';
        break;
      default:
    }
  }

  /** All of the time up to `at`; of an attempt that has ended badly, what is open came to nothing. */
  spent(at: number, ended: 'well' | 'badly' | null = null): Spent {
    const kind = ended === 'well' ? 'finishing' : ended === 'badly' && this.#phase !== 'save' ? 'lost' : this.#kind();
    const open = Math.max(0, at - this.#assigned);
    return { ...this.#spent, [kind]: this.#spent[kind] + open };
  }

  #assign(kind: keyof Spent, at: number): void {
    // An event is read a little after its time, so that a few milliseconds may have been given to steps already.
    this.#spent[kind] = Math.max(0, this.#spent[kind] + at - this.#assigned);
    this.#assigned = at;
  }

  #stepping(): 'productive' | 'replayed' {
    return this.#step <= this.#doneBefore ? 'replayed' : 'productive';
  }

  #kind(): keyof Spent {
    switch (this.#phase) {
      case 'train':
        // Past the last step only its checkpoint is waited for.
        return this.#step >= this.#steps ? 'saving' : this.#stepping();
      case 'save':
        return 'saving';
      case 'validation':
        return 'validation';
      case 'export':
        return 'finishing';
      default:
        return 'starting';
    }
  }
}
