/** Short nights on one stack: trainings that a test can hold still in mid-step, and what the store tells of them. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CACHE_MARK, marked } from '../../../activities/trainer/process-tree.ts';
import type { RunSpecInput } from '../../../contracts/run-spec.ts';
import { smallSpec, type Training, trainings } from '../../crash/trainings.ts';
import { eventually } from '../../fixtures/eventually.ts';
import type { TestStack } from '../stack.ts';

/** Enough for every hold of a test, and for the steps that a fast machine does before it is held. */
const STEPS = 44;

/** A training of its own for each seed. A crash parks the run at once. */
export function night(seed: number, over: Pick<RunSpecInput, 'eval' | 'policy'> = {}): RunSpecInput {
  const spec = smallSpec(STEPS);
  return {
    ...spec,
    train: { ...spec.train, microBatchSize: 4, checkpointEverySteps: 2, seed },
    eval: { ...spec.eval, ...over.eval },
    policy: { ...spec.policy, maxCrashes: 0, ...over.policy },
  };
}

export class Trainer {
  readonly #cacheDir: string;
  /** The attempt that was held last. */
  #held = '';

  constructor({ cacheDir }: TestStack) {
    this.#cacheDir = cacheDir;
  }

  /** Stops the next attempt, once it has done `steps` steps, so that a person has time to click. */
  hold(steps: number): Promise<number> {
    return eventually(
      `${steps} steps of a training at work`,
      async () => {
        const newest = (await trainings(this.#cacheDir)).sort((a, b) => order(a).localeCompare(order(b))).at(-1);
        if (newest === undefined || order(newest) <= this.#held || newest.step - startOf(newest) < steps) return null;
        if ((await this.signal('SIGSTOP')) === 0) return null;
        this.#held = order(newest);
        return newest.step;
      },
      180_000,
    );
  }

  /** The one that evaluates. */
  async holdEvaluation(): Promise<void> {
    await eventually(
      'an evaluation at work',
      async () => {
        for (const pid of await this.#pids()) {
          const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
          if (command.includes('\0eval\0')) return true;
        }
        return null;
      },
      180_000,
    );
    await this.signal('SIGSTOP');
  }

  goOn = (): Promise<number> => this.signal('SIGCONT');

  /** Once its worker has told it to stop: before, a fast machine would come to its end. */
  async goOnToStop(): Promise<void> {
    const told = async (): Promise<true | null> => {
      const statuses = await Promise.all(
        (await this.#pids()).map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')),
      );
      return statuses.some(sigtermWaits) ? true : null;
    };
    await eventually('SIGTERM for the trainer', told, 60_000);
    await this.goOn();
  }

  /** As by a fault of its own: SIGKILL would count as a preemption. */
  async crash(): Promise<void> {
    await this.signal('SIGSEGV');
    await this.goOn();
  }

  gone = (): Promise<true> =>
    eventually('no trainer left', async () => ((await this.#pids()).length === 0 ? true : null), 90_000);

  async signal(name: NodeJS.Signals): Promise<number> {
    const pids = await this.#pids();
    for (const pid of pids) process.kill(pid, name);
    return pids.length;
  }

  #pids = (): Promise<number[]> => marked(CACHE_MARK, this.#cacheDir);
}

/** The names of their folders begin with the time at which they began. */
const order = ({ folder }: Training): string => basename(folder);
const startOf = ({ events }: Training): number => events.find((event) => event.type === 'plan')?.fromStep ?? Infinity;

const SIGTERM_BIT = 1n << 14n;

/** A stopped process takes signals when it goes on. */
function sigtermWaits(status: string): boolean {
  const pending = /^ShdPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGTERM_BIT) !== 0n;
}

export interface AttemptAt {
  workflowId: string;
  number: number;
  fromStep: number | null;
  step: number;
  setting: { microBatchSize: number } | null;
}

/** The attempts at training of one run, oldest first, as the store has them. */
export async function attemptsOf({ storeDir }: TestStack, workflowId: string): Promise<AttemptAt[]> {
  const root = join(storeDir, 'attempts');
  const files = (await readdir(root, { recursive: true }).catch(() => [])).filter((name) => name.endsWith('.json'));
  const all = await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(join(root, name), 'utf8')) as AttemptAt),
  );
  return all.filter((attempt) => attempt.workflowId === workflowId).sort((a, b) => a.number - b.number);
}

/** When each artifact was committed: one that is made again has another time. */
export async function committed({ storeDir }: TestStack): Promise<Map<string, number>> {
  const root = join(storeDir, 'artifacts');
  const names = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('manifest.json'));
  return new Map(await Promise.all(names.map(async (name) => [name, (await stat(join(root, name))).mtimeMs] as const)));
}
