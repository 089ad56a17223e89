/** Compares the loss of each step that is done again with the first time: a live alarm for hosts that compute otherwise. */
import type { Attempt } from './attempts.ts';

interface FirstTime {
  loss: number;
  host: string;
  /** Under the same setting, so that it has to be equal to the bit. */
  exact: boolean;
}

export class Replays {
  readonly count: Attempt['replays'] = {
    steps: 0,
    compared: 0,
    differing: 0,
    comparedToRounding: 0,
    largestDifference: null,
  };
  readonly #first = new Map<number, FirstTime>();

  constructor(earlier: readonly Attempt[], setting: Attempt['setting'], leaveOutSteps: readonly number[]) {
    for (const attempt of earlier) {
      const exact = same(attempt.setting, setting);
      const until = firstDifference(attempt.leaveOutSteps, leaveOutSteps);
      for (const [step, loss] of attempt.losses) {
        if (step < until && (exact || !this.#first.get(step)?.exact))
          this.#first.set(step, { loss, host: attempt.host, exact });
      }
    }
  }

  /** What the loss was the first time, where it should have been equal and is not. */
  compare(step: number, loss: number): FirstTime | null {
    const { count } = this;
    count.steps++;
    const first = this.#first.get(step);
    if (first === undefined) return null;
    const difference = Math.abs(loss - first.loss) / Math.max(Math.abs(first.loss), Number.MIN_VALUE);
    count.largestDifference = Math.max(count.largestDifference ?? 0, difference);
    count[first.exact ? 'compared' : 'comparedToRounding']++;
    if (!first.exact || loss === first.loss) return null;
    count.differing++;
    return first;
  }
}

function same(a: Attempt['setting'], b: Attempt['setting']): boolean {
  if (a === null || b === null) return false;
  return Object.keys({ ...a, ...b }).every((name) => a[name] === b[name]);
}

/** From the first batch that only one of two attempts leaves out, they learn different things. */
function firstDifference(a: readonly number[], b: readonly number[]): number {
  const one = [...a.filter((step) => !b.includes(step)), ...b.filter((step) => !a.includes(step))];
  return Math.min(Number.POSITIVE_INFINITY, ...one);
}
