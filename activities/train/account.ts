/**
 * What one attempt has measured so far, from the events of its trainer: kept while it runs, and read once more from what
 * an attempt that died has left on this host.
 */
import { cpus } from 'node:os';
import type { TrainerEvent } from '../../contracts/trainer.ts';
import type { Notice } from '../../contracts/workflow-api.ts';
import type { Attempt } from './attempts.ts';
import { Meter } from './meter.ts';
import { Replays } from './replays.ts';

export type AttemptHead = Pick<
  Attempt,
  'prefix' | 'workflowId' | 'attempt' | 'host' | 'gpus' | 'startedAt' | 'leaveOutSteps'
> & { microBatchSize: number };

/** Enough for what lies between two checkpoints of a slow training, and a small record still. */
const LOSSES_KEPT = 500;

export function newRecord({ microBatchSize, ...head }: AttemptHead, earlier: readonly Attempt[]): Attempt {
  return {
    version: 2,
    number: Math.max(0, ...earlier.map(({ number }) => number)) + 1,
    ...head,
    fromStep: null,
    setting: { microBatchSize },
    step: 0,
    doneBefore: Math.max(0, ...earlier.map(({ step }) => step)),
    seconds: new Meter(0).spent(0),
    losses: [],
    replays: new Replays([], null, []).count,
    notices: [],
    ended: null,
  };
}

export class Account {
  readonly #record: Attempt;
  readonly #earlier: readonly Attempt[];
  readonly #meter: Meter;
  readonly #losses = new Map<number, number>();
  #replays = new Replays([], null, []);

  /** Adds to `record`; `earlier` are the attempts before it. */
  constructor(record: Attempt, earlier: readonly Attempt[]) {
    this.#record = record;
    this.#earlier = earlier;
    this.#meter = new Meter(record.doneBefore);
  }

  /** `at` is in seconds since the attempt began. Returns what has to be told. */
  take(event: TrainerEvent, at: number): Notice | null {
    this.#meter.take(event, at);
    if (event.type === 'plan') {
      const { fromStep, ranks, sharded = false, torch, recipe, threads } = event;
      // Two kinds of CPU add in another order, as two kinds of GPU do.
      const device = event.device === 'cpu' ? `cpu, ${cpus()[0]?.model ?? 'unknown'}` : event.device;
      this.#record.setting = { ...this.#record.setting, ranks, sharded, torch, recipe, threads, device };
      this.#record.step = fromStep;
      this.#replays = new Replays(this.#earlier, this.#record.setting, this.#record.leaveOutSteps);
      this.#record.replays = this.#replays.count;
    }
    if (event.type !== 'step') return null;
    this.#record.step = event.step;
    this.#losses.set(event.step, event.loss);
    const oldest = this.#losses.keys().next().value;
    if (this.#losses.size > LOSSES_KEPT && oldest !== undefined) this.#losses.delete(oldest);
    if (event.step > this.#record.doneBefore) return null;
    const first = this.#replays.compare(event.step, event.loss);
    // After the first, every later one differs too.
    if (first === null || this.#replays.count.differing > 1) return null;
    const message = `Step ${event.step} was done again on ${this.#record.host} with loss ${event.loss}; expected ${first.loss} to the bit, as ${first.host} had it under the same setting. One of them does not compute reliably, or their drivers differ: look for memory errors there, and let \`reverie verify\` replay steps on a third host.`;
    return this.notice({ type: 'ReplayDiffers', message, at: new Date(event.at * 1000).toISOString() });
  }

  notice(notice: Notice): Notice {
    if (!this.#record.notices.some(({ message }) => message === notice.message)) this.#record.notices.push(notice);
    return notice;
  }

  spent(at: number): Attempt['seconds'] {
    return this.#meter.spent(at);
  }

  record(at: number, ended: 'well' | 'badly' | null = null): Attempt {
    this.#record.seconds = this.#meter.spent(at, ended);
    this.#record.losses = [...this.#losses];
    return this.#record;
  }
}
