/** The attempt at a training that is at work now, and the one that a trainer alone, never disturbed, makes of its spec. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { ATTEMPT_MARK, marked } from '../../activities/trainer/process-tree.ts';
import { trainerPath } from '../../cli/trainer-path.ts';
import type { TrainerTrainSpec } from '../../contracts/trainer.ts';
import { eventually } from '../fixtures/eventually.ts';
import { python } from '../fixtures/python.ts';
import { type Training, trainings } from './trainings.ts';

const PATIENCE_MS = 120_000;

export interface AtWork extends Training {
  pids: number[];
}

/** Another attempt than the last one that was asked for, once it has done so many steps of its own. */
export function watchAttempts(cacheDir: string): (ownSteps: number) => Promise<AtWork> {
  const seen = new Set<string>();
  return async (ownSteps) => {
    const found = await eventually(
      `an attempt with ${ownSteps} steps`,
      async () => {
        const training = (await trainings(cacheDir)).find(({ folder }) => !seen.has(folder));
        if (!training || training.events.filter(({ type }) => type === 'step').length < ownSteps) return null;
        const pids = await marked(ATTEMPT_MARK, basename(training.folder));
        return pids.length > 0 ? { ...training, pids } : null;
      },
      PATIENCE_MS,
    );
    seen.add(found.folder);
    return found;
  };
}

/** What its trainer was told. */
export const specOf = async ({ folder }: Training): Promise<TrainerTrainSpec> =>
  JSON.parse(await readFile(join(folder, 'spec.json'), 'utf8')) as TrainerTrainSpec;

/** The weights' hash of that training from its beginning in one go, by the trainer alone, in `folder`. */
export async function trainUndisturbed(spec: TrainerTrainSpec, folder: string, ranks = 1): Promise<string> {
  await mkdir(folder, { recursive: true });
  const specFile = join(folder, 'spec.json');
  await writeFile(specFile, JSON.stringify({ ...spec, checkpoint: { ...spec.checkpoint, resumeFrom: null } }));
  const args = ['-m', 'dream_trainer', 'train', '--spec', specFile, '--run-dir', folder, '--ranks', String(ranks)];
  await execa(python.path, args, { env: trainerPath() });
  const events = (await readFile(join(folder, 'events.jsonl'), 'utf8')).trim().split('\n');
  const { type, weightsSha256 } = JSON.parse(events.at(-1) ?? '');
  if (type !== 'done') throw new Error(`the trainer alone ended with ${events.at(-1)}`);
  return weightsSha256;
}
