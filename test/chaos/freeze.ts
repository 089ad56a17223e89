/**
 * Catches a training in a given phase and holds it there: trainer and worker are stopped, and then it is looked whether
 * the moment was caught. So a fault hits what it was aimed at, and that it did is known and not guessed.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stepOf } from '../../activities/store/checkpoint-folder.ts';
import { ATTEMPT_MARK, marked } from '../../activities/trainer/process-tree.ts';
import { eventually } from '../fixtures/eventually.ts';
import type { Host } from './house.ts';
import { CHECKPOINT_EVERY, type Training } from './training.ts';
import type { Attempt } from './watch.ts';

export const aims = ['step', 'save', 'upload', 'validation'] as const;
export type Aim = (typeof aims)[number];

/** A save takes some tens of milliseconds. */
const LOOK_MS = 2;

export interface Frozen {
  aim: Aim;
  attempt: Attempt;
  host: Host;
  /** All of the trainer's processes. */
  trainer: number[];
  /** Newest step done. */
  step: number;
  atMs: number;
  /** Step of a checkpoint whose upload is under way. */
  uploading: number | null;
  /** Goes on, those that live. */
  thaw(): void;
}

/** A random moment in a phase of the attempt at work, after it has saved some checkpoints of its own. */
export async function freeze(training: Training, aim: Aim, checkpoints = 1): Promise<Frozen> {
  const attempt = await training.ripe(checkpoints);
  const host = training.hostOf(attempt);
  const trainer = await marked(ATTEMPT_MARK, attempt.prefix);
  const pids = [...trainer, host.worker.pid ?? 0];
  const target = attempt.step + training.random.integer(0, 2 * CHECKPOINT_EVERY);
  for (;;) {
    await training.pause(LOOK_MS);
    await training.ripe(checkpoints);
    if (attempt.step < target || !(await isIn(aim, attempt))) continue;
    send('SIGSTOP', pids);
    const thaw = (): void => send('SIGCONT', pids);
    try {
      await training.watch.look();
      const held = await uploadingStep(attempt);
      const uploading = held !== null && !(await training.storedSteps(attempt)).includes(held) ? held : null;
      if (trainer.length > 0 && (aim === 'upload' ? uploading !== null : await isIn(aim, attempt))) {
        return { aim, attempt, host, trainer, step: attempt.step, atMs: Date.now(), uploading, thaw };
      }
    } catch (error) {
      thaw();
      throw error;
    }
    thaw();
  }
}

/** All that an attempt has started is gone: so the fault fired. */
export async function gone({ attempt }: Frozen): Promise<void> {
  await eventually(
    'the trainer is gone',
    async () => ((await marked(ATTEMPT_MARK, attempt.prefix)).length === 0 ? true : null),
    30_000,
  );
}

/** Those that have ended meanwhile are passed over. */
export function send(signal: NodeJS.Signals, pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

async function isIn(aim: Aim, attempt: Attempt): Promise<boolean> {
  switch (aim) {
    case 'step':
      return attempt.phase === 'train' && (await savingStep(attempt)) === null;
    case 'save':
      return (await savingStep(attempt)) !== null;
    case 'upload':
      return (await uploadingStep(attempt)) !== null;
    case 'validation':
      return attempt.phase === 'validation' && attempt.events.at(-1)?.type !== 'validation';
  }
}

/** Of a checkpoint that is being written. */
export async function savingStep({ folder }: Attempt): Promise<number | null> {
  const names = await readdir(join(folder, 'checkpoints')).catch(() => []);
  const partial = names.find((name) => name.endsWith('.partial'));
  return partial === undefined ? null : stepOf(partial.slice(0, -'.partial'.length));
}

/** The worker holds a checkpoint's folder while it brings it up, and for a moment longer. */
async function uploadingStep({ folder }: Attempt): Promise<number | null> {
  const parent = join(folder, 'checkpoints');
  for (const name of await readdir(parent).catch(() => [])) {
    const step = stepOf(name);
    if (step !== null && existsSync(join(parent, name, '.hold'))) return step;
  }
  return null;
}
