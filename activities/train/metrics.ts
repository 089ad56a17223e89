/** What a training measures of itself for Prometheus, beside what the SDK measures of every activity. */
import type { MetricMeter } from '@temporalio/common';
import type { TrainerEvent } from '../../contracts/trainer.ts';

/** Name, with its unit, and meaning; the reference of metrics is made from it. A counter is served with `_total`. */
export const trainingMetrics = {
  reverie_train_steps: { kind: 'counter', says: 'Optimizer steps done, those done again included.' },
  reverie_train_tokens: { kind: 'counter', says: 'Places computed, padding included.' },
  reverie_train_loss: { kind: 'gauge', says: 'Loss of the newest step.' },
  reverie_train_save_stall_seconds: {
    kind: 'histogram',
    says: 'Time for which training stood still for a checkpoint.',
  },
  reverie_train_checkpoint_timestamp_seconds: {
    kind: 'gauge',
    says: 'Unix time at which the newest checkpoint was committed to the store, or training began.',
  },
  reverie_train_goodput: {
    kind: 'gauge',
    says: "Share of the training's time, all attempts included, in which it came forward.",
  },
} as const satisfies Record<string, { kind: 'counter' | 'gauge' | 'histogram'; says: string }>;

type Name = keyof typeof trainingMetrics;

export class TrainingMetrics {
  readonly #meter: MetricMeter;

  /** Tags of the meter stay on every metric; a run's id is none, since each would make a series of its own. */
  constructor(meter: MetricMeter) {
    this.#meter = meter;
    this.committed();
  }

  take(event: TrainerEvent, goodput: number | null): void {
    if (goodput !== null) this.#gauge('reverie_train_goodput', goodput);
    if (event.type === 'checkpoint') this.#stall(event.stallSeconds);
    if (event.type !== 'step') return;
    this.#count('reverie_train_steps', 1);
    this.#count('reverie_train_tokens', event.tokens);
    this.#gauge('reverie_train_loss', event.loss);
  }

  /** To the store. */
  committed(): void {
    this.#gauge('reverie_train_checkpoint_timestamp_seconds', Date.now() / 1000);
  }

  #count(name: Name, value: number): void {
    this.#meter.createCounter(name, undefined, trainingMetrics[name].says).add(value);
  }

  #gauge(name: Name, value: number): void {
    this.#meter.createGauge(name, 'float', undefined, trainingMetrics[name].says).set(value);
  }

  #stall(seconds: number): void {
    const name = 'reverie_train_save_stall_seconds';
    this.#meter.createHistogram(name, 'float', undefined, trainingMetrics[name].says).record(seconds);
  }
}
