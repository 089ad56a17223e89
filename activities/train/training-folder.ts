/**
 * The folder of one training on this host: `checkpoints/step-<n>` to resume from, and a folder for each attempt, which
 * alone writes there. What dead attempts saved is moved over first, so that a restart on this host reads its own disk.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { localSteps } from '../store/checkpoint-folder.ts';
import { ATTEMPT_MARK, marked } from '../trainer/process-tree.ts';

export interface TrainingFolder {
  /** `step-<n>` folders, complete or damaged, of attempts that are over. */
  checkpoints: string;
  /** For this attempt alone. */
  runDir: string;
}

export async function openTrainingFolder(cacheDir: string, trainKey: string, attempt: string): Promise<TrainingFolder> {
  const root = join(cacheDir, 'training', trainKey);
  const checkpoints = join(root, 'checkpoints');
  const runDir = join(root, attempt);
  await mkdir(checkpoints, { recursive: true });
  for (const other of await readdir(root)) {
    if (other === 'checkpoints' || other === attempt) continue;
    // Another run of the same training may be at work here: its folder is its own while a process of it lives.
    if ((await marked(ATTEMPT_MARK, other)).length > 0) continue;
    await salvage(join(root, other, 'checkpoints'), checkpoints);
    await rm(join(root, other), { recursive: true, force: true });
  }
  await mkdir(runDir, { recursive: true });
  return { checkpoints, runDir };
}

export async function dropTrainingFolder(cacheDir: string, trainKey: string, attempt: string): Promise<void> {
  await rm(join(cacheDir, 'training', trainKey, attempt), { recursive: true, force: true });
}

/** The trainer renames a checkpoint into place when it is whole, so every `step-<n>` folder is worth a look. */
async function salvage(from: string, into: string): Promise<void> {
  for (const step of await localSteps(from)) {
    const target = join(into, `step-${step}`);
    await rm(target, { recursive: true, force: true });
    await rename(join(from, `step-${step}`), target);
  }
}
