/** The checkpoints of a training that the store still has: each read whole, and told of. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkpoints, type StoredCheckpoint } from '../../activities/store/checkpoints.ts';
import { Damaged } from '../../activities/store/damaged.ts';
import type { Store } from '../../activities/store/store.ts';
import { type Check, fail, ok, warn } from '../doctor/check.ts';
import { compareSteps, readSteps, type StepRecord } from './compare-steps.ts';
import { hashTensors } from './tensors.ts';

/** One that tells of the same course as the published model. */
export interface SoundCheckpoint {
  step: number;
  stateSha256: StateHashes;
  /** Reads it once more, as a folder to resume from, which the caller deletes. */
  fetch: (signal: AbortSignal) => Promise<string>;
}

export interface StateHashes {
  weights: string;
  optimizer: string;
}

export interface CheckpointReading {
  store: Store;
  trainKey: string;
  /** Null where the artifact is damaged: the course is unknown then. */
  steps: StepRecord[] | null;
  dir: string;
  signal: AbortSignal;
  tell: (check: Check) => void;
}

/** Oldest first. Of two of one step, made by two attempts, both are read and the newer is kept. */
export async function verifyCheckpoints(reading: CheckpointReading): Promise<SoundCheckpoint[]> {
  const { store, trainKey, steps, dir, signal, tell } = reading;
  const checkpoints = new Checkpoints(store, trainKey);
  const sound = new Map<number, SoundCheckpoint>();
  for (const stored of (await checkpoints.list()).reverse()) {
    const name = `checkpoint ${stored.step}`;
    const folder = join(dir, `step-${stored.step}`);
    const fetch = async (signal: AbortSignal): Promise<string> => {
      await checkpoints.downloadFiles(stored, folder, trainKey, { signal });
      return folder;
    };
    try {
      await fetch(signal);
      const stateSha256 = await hashState(folder, signal);
      const course = await readSteps(folder);
      const { first } = compareSteps(course, steps ?? course);
      if (first === null) {
        sound.set(stored.step, { step: stored.step, stateSha256, fetch });
        tell(ok(name, 'its files as stated, its history that of the run'));
      } else {
        const found = `its files as stated, its history another one (${first}), so that nothing is replayed from it`;
        tell(warn(name, found, 'an attempt that was rolled back leaves such; else distrust it'));
      }
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      tell(damaged(name, stored, error));
    }
    await rm(folder, { recursive: true, force: true });
  }
  return [...sound.values()].sort((a, b) => a.step - b.step);
}

async function hashState(folder: string, signal: AbortSignal): Promise<StateHashes> {
  const weights = await hashTensors(folder, 'weights-', signal);
  return { weights, optimizer: await hashTensors(folder, 'optimizer-', signal) };
}

const damaged = (name: string, { prefix }: StoredCheckpoint, { message }: Damaged): Check =>
  fail(name, `${prefix}: ${message}`, 'delete that folder; an attempt at this training would pass it over');
