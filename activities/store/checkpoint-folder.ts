/** A checkpoint on this host's disk: `step-<n>/` as the trainer leaves it, with a manifest of sizes and SHA-256s. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CHECKPOINT_VERSION, type CheckpointManifest, checkpointManifestSchema } from '../../contracts/trainer.ts';
import { Damaged } from './damaged.ts';
import { hashFile } from './hashing.ts';
import type { Transfer } from './store.ts';

export const MANIFEST = 'manifest.json';

/** Whole, as far as one can tell, but nothing to start from here: of another training, or of a newer version. */
export class Foreign extends Damaged {}

/** Throws Damaged when the bytes are no whole manifest, or one of another training or step. */
export function readCheckpointManifest(bytes: Uint8Array, expected: { identity?: string; step?: number } = {}) {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new Damaged('its manifest is not JSON');
  }
  const version = newerVersion.safeParse(json).data?.version;
  if (version !== undefined) {
    throw new Foreign(`it has version ${version}, of a newer version of Reverie; upgrade this worker to go on from it`);
  }
  const parsed = checkpointManifestSchema.safeParse(json);
  if (!parsed.success) throw new Damaged('its manifest is not one of a checkpoint');
  const manifest = parsed.data;
  for (const { path } of manifest.files) {
    if (path.includes('/') || path.includes('..')) throw new Damaged(`its manifest names ${JSON.stringify(path)}`);
  }
  if (expected.identity !== undefined && manifest.identity !== expected.identity) {
    throw new Foreign(`its identity is ${manifest.identity}, not ${expected.identity}`);
  }
  if (expected.step !== undefined && manifest.step !== expected.step) {
    throw new Damaged(`its manifest says step ${manifest.step}, its name says ${expected.step}`);
  }
  return manifest;
}

const newerVersion = z.object({ version: z.int().gt(CHECKPOINT_VERSION) });

/** Reads every byte. Throws Damaged when the folder is not whole, or belongs to another training. */
export async function verifyCheckpoint(
  folder: string,
  identity: string,
  transfer: Transfer = {},
): Promise<CheckpointManifest> {
  const bytes = await readFile(join(folder, MANIFEST)).catch(asDamaged);
  const step = stepOf(folder.split('/').at(-1) ?? '');
  const manifest = readCheckpointManifest(bytes, { identity, ...(step !== null && { step }) });
  for (const file of manifest.files) {
    const path = join(folder, file.path);
    const size = (await stat(path).catch(() => null))?.size;
    if (size !== file.size) throw new Damaged(`${file.path} has ${size ?? 'no'} bytes, not ${file.size}`);
    const { sha256 } = await hashFile(path, transfer).catch(asDamaged);
    if (sha256 !== file.sha256) throw new Damaged(`${file.path} has SHA-256 ${sha256}, not ${file.sha256}`);
  }
  return manifest;
}

/** The step in `step-<n>`; null for any other name. As a number: 900 comes before 1000. */
export function stepOf(name: string): number | null {
  const [, step] = /^step-(\d+)$/.exec(name) ?? [];
  return step === undefined ? null : Number(step);
}

/** Newest first; verified or not. */
export async function localSteps(root: string): Promise<number[]> {
  const names = await readdir(root).catch(() => []);
  const steps = names.map(stepOf).filter((step) => step !== null);
  return steps.sort((a, b) => b - a);
}

/** Files that are gone, and a disk that has lost their bytes; other errors are this host's, not the checkpoint's. */
function asDamaged(error: NodeJS.ErrnoException): never {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EIO') throw new Damaged(error.message);
  throw error;
}
