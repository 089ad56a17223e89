/** Which steps of a training are done once more: a state is kept only here and there, and from there steps run on. */
import { sha256 } from '../../contracts/stage-keys.ts';

/** The steps after `from`, up to and with `to`. */
export interface StepRun {
  from: number;
  to: number;
}

export interface Choice {
  /** Steps whose state is there: 0, the base, and those of sound checkpoints. */
  starts: readonly number[];
  /** The training's last step. */
  end: number;
  /** How many are done at most. */
  steps: number;
  seed: number;
}

/**
 * The last stretch goes first, since its end is the published model: whole where the number allows for that and a step
 * elsewhere, else with half of it. The others follow in an order drawn by the seed, each from where its state is kept.
 */
export function chooseRuns({ starts, end, steps, seed }: Choice): StepRun[] {
  const from = [...new Set(starts)].filter((step) => step < end).sort((a, b) => a - b);
  const stretches = from.map((step, index) => ({ from: step, to: from[index + 1] ?? end }));
  const last = stretches.pop();
  if (last === undefined) return [];
  const drawn = stretches.sort((a, b) => (draw(seed, a) < draw(seed, b) ? -1 : 1));
  const elsewhere = Math.min(Math.floor(steps / 2), last.from);
  const whole = length(last) + Math.min(1, elsewhere) <= steps;
  let left = steps;
  const runs: StepRun[] = [];
  for (const stretch of [last, ...drawn]) {
    const share = stretch === last && !whole ? steps - elsewhere : left;
    const taken = Math.min(length(stretch), share);
    if (taken > 0) runs.push({ from: stretch.from, to: stretch.from + taken });
    left -= taken;
  }
  return runs.sort((a, b) => a.from - b.from);
}

const length = ({ from, to }: StepRun): number => to - from;
const draw = (seed: number, { from }: StepRun): string => sha256(`${seed}/${from}`);
