/** What every stage with an artifact does: look up, run on a miss, verify and commit, under one heartbeat. */
import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { isReverieFailure } from '../contracts/failures.ts';
import type { ArtifactStage, StageResult } from '../contracts/stages.ts';
import type { ActivityDeps } from './deps.ts';
import { giveUpAfter } from './give-up-after.ts';
import { type Beat, withHeartbeat } from './heartbeat.ts';

export { type Beat, withHeartbeat } from './heartbeat.ts';

export interface StageContext extends Beat {
  /** Empty scratch folder on this host; its files become the artifact. */
  dir: string;
}

export interface Stage<S> {
  deps: Pick<ActivityDeps, 'artifacts' | 'cacheDir' | 'log'>;
  stage: ArtifactStage;
  key: string;
  /** Fills `context.dir` and returns the summary: small numbers that cross Temporal. */
  work: (context: StageContext) => Promise<S>;
  /** Longest time without `context.progress()`. */
  stallSeconds?: number;
  /** What a stop of this worker leaves finished work to be committed; without it, it is given up at once. */
  graceSeconds?: () => number;
}

const DAY_MS = 24 * 3600 * 1000;

/** The artifact of `key`, made by `work` unless the store has it whole. Two at once are harmless: see `commit`. */
export async function runStage<S>({
  deps,
  stage,
  key,
  work,
  stallSeconds,
  graceSeconds,
}: Stage<S>): Promise<StageResult<S>> {
  const { artifacts, cacheDir, log } = deps;
  return withHeartbeat(
    async (beat) => {
      const hit = await artifacts.lookUp<S>(stage, key, beat.transfer);
      if (hit) return { artifact: artifacts.ref(hit), cached: true, seconds: 0, summary: hit.summary };

      const commit = graceSeconds
        ? { ...beat.transfer, signal: outliveShutdown(beat.signal, graceSeconds) }
        : beat.transfer;
      const startedMs = performance.now();
      const scratch = join(cacheDir, 'scratch');
      const dir = join(scratch, randomUUID());
      await mkdir(dir, { recursive: true });
      try {
        await sweepLeftovers(scratch);
        const summary = await work({ ...beat, dir });
        const manifest = await artifacts.commit(stage, key, dir, summary, commit);
        await artifacts.keep(manifest, dir);
        const seconds = (performance.now() - startedMs) / 1000;
        log.info({ stage, key, digest: manifest.digest, files: manifest.files.length, seconds }, 'artifact committed');
        return { artifact: artifacts.ref(manifest), cached: false, seconds, summary: manifest.summary };
      } catch (error) {
        if (isReverieFailure(error)) error.details.lookedUp = true;
        throw error;
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    },
    stallSeconds === undefined ? {} : { stallSeconds },
  );
}

/** A person's cancellation is heard at once, and so is that of an attempt which another has followed. */
function outliveShutdown(signal: AbortSignal, graceSeconds: () => number): AbortSignal {
  const context = Context.current();
  return giveUpAfter(signal, () => (context.cancellationDetails?.workerShutdown ? graceSeconds() : 0));
}

/** Folders of processes that died: nothing in them was written for a day. */
async function sweepLeftovers(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    const folder = join(scratch, name);
    if (Date.now() - (await newestMs(folder)) > DAY_MS) await rm(folder, { recursive: true, force: true });
  }
}

async function newestMs(path: string): Promise<number> {
  const info = await lstat(path).catch(() => null);
  // Gone in the meantime: another worker on this host sweeps too.
  if (info === null) return Date.now();
  if (!info.isDirectory()) return info.mtimeMs;
  const times = await Promise.all((await readdir(path).catch(() => [])).map((name) => newestMs(join(path, name))));
  return Math.max(info.mtimeMs, ...times);
}

/** A hit, or null: what the CPU queue asks before a GPU task is scheduled. */
export async function lookUpStage<S>({ deps, stage, key }: Omit<Stage<S>, 'work'>): Promise<StageResult<S> | null> {
  return withHeartbeat(async ({ transfer }) => {
    const hit = await deps.artifacts.lookUp<S>(stage, key, transfer);
    return hit && { artifact: deps.artifacts.ref(hit), cached: true, seconds: 0, summary: hit.summary };
  });
}
