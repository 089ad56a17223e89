/**
 * The folder of one attempt at a training on this host, which it alone writes: `checkpoints` is the trainer's, `resume`
 * holds what to start from. An attempt takes over what dead ones have saved, so that a restart on this host reads its
 * own disk; two at once, of two runs that share a cache folder, leave each other alone.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { localSteps } from '../store/checkpoint-folder.ts';
import { ATTEMPT_MARK, marked, startOfProcess } from '../trainer/process-tree.ts';

export interface TrainingFolder {
  /** `step-<n>` folders, complete or damaged, of attempts that are over. */
  checkpoints: string;
  runDir: string;
  /** Lets the next attempt have it; a process that dies does so too. */
  release(): Promise<void>;
}

const ownerSchema = z.object({ host: z.string(), pid: z.int(), start: z.string().nullable() });

const OWNER = 'owner.json';
/** A worker of another host, on a shared disk, shows no process here; its trainer tells something more often than so. */
const SILENT_MS = 3600 * 1000;
/** A checkpoint, or one whose download was interrupted. */
const CHECKPOINT = /^step-\d+(\..+\.incoming)?$/;

/** `onDead` may read the folder of an attempt that is over, before it goes. */
export async function openTrainingFolder(
  cacheDir: string,
  trainKey: string,
  attempt: string,
  onDead: (attempt: string, folder: string) => Promise<void> = async () => {},
): Promise<TrainingFolder> {
  const root = join(cacheDir, 'training', trainKey);
  const runDir = join(root, attempt);
  const checkpoints = join(runDir, 'resume');
  const owner = { host: hostname(), pid: process.pid, start: await startOfProcess(process.pid) };
  // Owned before it can be seen under its name.
  const draft = join(root, `.${attempt}`);
  await mkdir(join(draft, 'resume'), { recursive: true });
  await writeFile(join(draft, OWNER), JSON.stringify(owner));
  await rename(draft, runDir);
  const others = (await readdir(root)).filter((name) => name !== attempt && !name.startsWith('.'));
  // Names are in order of time: of two copies of a step the newer stays.
  for (const other of others.sort().reverse()) {
    if (!(await isInUse(join(root, other)))) await takeOver(join(root, other), runDir, checkpoints, onDead);
  }
  return { checkpoints, runDir, release: () => rm(join(runDir, OWNER), { force: true }) };
}

export async function dropTrainingFolder(cacheDir: string, trainKey: string, attempt: string): Promise<void> {
  await rm(join(cacheDir, 'training', trainKey, attempt), { recursive: true, force: true });
}

/** Of what is older than the checkpoint to resume from, one is enough for the case that it turns out bad. */
export async function dropOlder(checkpoints: string, fromStep: number): Promise<void> {
  const older = (await localSteps(checkpoints)).filter((step) => step < fromStep).slice(1);
  const names = older.map((step) => `step-${step}`);
  names.push(...(await readdir(checkpoints)).filter((name) => name.endsWith('.incoming')));
  for (const name of names) await rm(join(checkpoints, name), { recursive: true, force: true });
}

/** The rename decides between two that want the same folder. */
async function takeOver(
  dead: string,
  runDir: string,
  checkpoints: string,
  onDead: (attempt: string, folder: string) => Promise<void>,
): Promise<void> {
  const mine = join(runDir, 'dead', basename(dead));
  await mkdir(join(runDir, 'dead'), { recursive: true });
  const taken = await rename(dead, mine).then(
    () => true,
    () => false,
  );
  if (!taken) return;
  await onDead(basename(dead), mine);
  const entries = await readdir(mine, { recursive: true, withFileTypes: true });
  for (const { name, parentPath } of entries.filter((entry) => entry.isDirectory() && CHECKPOINT.test(entry.name))) {
    // One that is there already came from a newer attempt.
    await rename(join(parentPath, name), join(checkpoints, name)).catch(() => undefined);
  }
  await rm(mine, { recursive: true, force: true });
}

async function isInUse(folder: string): Promise<boolean> {
  if ((await marked(ATTEMPT_MARK, basename(folder))).length > 0) return true;
  const owner = await readFile(join(folder, OWNER), 'utf8')
    .then((text) => ownerSchema.parse(JSON.parse(text)))
    .catch(() => null);
  if (owner === null) return false;
  if (owner.host === hostname()) return (await startOfProcess(owner.pid)) === owner.start;
  const told = await Promise.all(['events.jsonl', OWNER].map((name) => stat(join(folder, name)).catch(() => null)));
  return Date.now() - Math.max(...told.map((info) => info?.mtimeMs ?? 0)) < SILENT_MS;
}
