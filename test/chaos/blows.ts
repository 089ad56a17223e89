/** What scenarios that kill have in common: where the next attempt has to resume, and how many steps that may cost. */
import { type Aim, aims, type Frozen, freeze, gone, send } from './freeze.ts';
import type { Blow } from './scenario.ts';
import { CHECKPOINT_EVERY, type Training } from './training.ts';

export interface Victims {
  trainer: boolean;
  worker: boolean;
  /** Of the worker that replaces a killed one; as before where it is left out. */
  ranks?: number;
}

/** SIGKILL at a random moment, in a random phase if none is named; a killed worker is replaced on the same host. */
export async function kill(
  training: Training,
  { trainer, worker, ranks }: Victims,
  aim: Aim = training.random.pick(aims),
): Promise<Blow> {
  const frozen = await freeze(training, aim);
  const { attempt, host } = frozen;
  const [newest = 0] = await training.localSteps(attempt);
  const blow: Blow = {
    detail: `in ${frozen.aim}`,
    atMs: Date.now(),
    step: frozen.step,
    struck: attempt,
    resumesFrom: [newest, newest],
    maxStepsLost: intervalLost(frozen.step, newest),
  };
  if (trainer) send('SIGKILL', frozen.trainer);
  if (worker) send('SIGKILL', [host.worker.pid ?? 0]);
  frozen.thaw();
  await gone(frozen);
  if (worker) {
    // A thawed trainer has a moment until the kernel ends it with its worker: enough for a step, or a save under way.
    await training.watch.look();
    const [latest = newest] = await training.localSteps(attempt);
    blow.resumesFrom = [latest, latest];
    blow.maxStepsLost = intervalLost(attempt.step, latest);
    await training.house.startHost({ name: host.name, ranks: ranks ?? host.ranks });
  }
  return blow;
}

/** One interval; and what was trained behind the save that was under way, where the newest one due is not whole yet. */
export function intervalLost(step: number, newest: number): number {
  const due = step - (step % CHECKPOINT_EVERY);
  return CHECKPOINT_EVERY + (newest < due ? step - due : 0);
}

/** SIGTERM at a random moment: whoever hears it saves what was trained, to the last step. */
export async function askToStop(training: Training, ask: (frozen: Frozen) => Promise<void>): Promise<Blow> {
  const aim: Aim = training.random.pick(aims);
  const frozen = await freeze(training, aim);
  const atMs = Date.now();
  const asked = ask(frozen);
  frozen.thaw();
  await asked;
  await gone(frozen);
  await training.watch.look();
  const { step } = frozen.attempt;
  return { detail: `in ${aim}`, atMs, step, struck: frozen.attempt, resumesFrom: [step, step], maxStepsLost: 0 };
}
