/**
 * The trainer's processes, found by a mark in their environment: children that call setsid leave every process group,
 * but the environment goes with them. Linux only; elsewhere nothing is found and the parent-death rule must do.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Environment variable that marks an attempt's processes. */
export const ATTEMPT_MARK = 'REVERIE_ATTEMPT';
/** Environment variable that marks all trainers of one cache folder, for the sweep when a worker starts. */
export const CACHE_MARK = 'REVERIE_TRAINER_OF';

/** Environment variable with the process id of the worker that started a trainer. */
export const WORKER_MARK = 'REVERIE_WORKER_PID';

/** The environment by which all that belongs to a trainer of this worker is found. */
export function trainerMarks({ attempt, cacheDir }: { attempt: string; cacheDir: string }): Record<string, string> {
  return { [ATTEMPT_MARK]: attempt, [CACHE_MARK]: cacheDir, [WORKER_MARK]: String(process.pid) };
}

/** Process ids whose environment holds `name=value`, zombies excluded. */
export async function marked(name: string, value: string): Promise<number[]> {
  const entry = Buffer.from(`${name}=${value}\0`);
  const pids = (await readdir('/proc').catch(() => [])).filter((file) => /^\d+$/.test(file)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      // Unreadable means gone, a zombie, or another user's.
      const environment = await readFile(`/proc/${pid}/environ`).catch(() => null);
      if (environment === null || pid === process.pid) return null;
      const at = environment.indexOf(entry);
      return at === 0 || (at > 0 && environment[at - 1] === 0) ? pid : null;
    }),
  );
  return found.filter((pid) => pid !== null);
}

/** SIGKILLs what is marked until nothing is left; returns how many processes that took. */
export async function killMarked(name: string, value: string, timeoutMs = 30_000): Promise<number> {
  const killed = new Set<number>();
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const pids = await marked(name, value);
    if (pids.length === 0) return killed.size;
    if (Date.now() > deadline)
      throw new Error(
        `processes ${pids.join(', ')} survived SIGKILL for ${timeoutMs / 1000} s; expected them gone; look whether they wait for a device (state D)`,
      );
    for (const pid of pids) {
      killed.add(pid);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in between.
      }
    }
    await sleep(20);
  }
}

/** Ends trainers of this cache folder whose worker is gone; those of workers that live beside us are theirs. */
export async function killOrphans(cacheDir: string): Promise<number> {
  let killed = 0;
  for (const pid of await marked(CACHE_MARK, cacheDir)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const worker = environment.split('\0').find((entry) => entry.startsWith(`${WORKER_MARK}=`));
    const workerPid = worker?.slice(WORKER_MARK.length + 1) ?? '';
    if (!/^\d+$/.test(workerPid) || isAlive(Number(workerPid))) continue;
    killed += await killMarked(WORKER_MARK, workerPid);
  }
  return killed;
}

/** Tells a process from a later one of the same id; null when there is none, or only what its parent has not reaped. */
export async function startOfProcess(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return isAlive(pid) ? 'unknown' : null;
  // The fields after the name, which may have spaces and parentheses: state is the 3rd of all, start the 22nd.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
