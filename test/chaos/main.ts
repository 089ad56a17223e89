/**
 * Faults injected into the real thing, counted:
 *
 *     npm run chaos -- --faults kill-trainer,damaged:20 --count 10 --seed 7 --json chaos.json
 */

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs, promisify } from 'node:util';
import { findTemporal } from '../../cli/setup/temporal.mjs';
import { type Campaign, runCampaign } from './campaign.ts';
import { goodputTrials } from './goodput.ts';
import { House } from './house.ts';
import { Random } from './random.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios/scenarios.ts';
import { largest, median, rowsOf, table } from './table.ts';
import { CHECKPOINT_EVERY, STEPS } from './training.ts';

const PER_RUN = 6;
/** Of the short form, which runs beside other tests. */
const SHORT_PATIENCE = 4;

const help = `usage: npm run chaos [-- options]

Injects faults into real trainings (dev server, workers, trainer, all processes of this machine), sees that each one
fired, and compares the weights with those of an undisturbed run. Without --faults: the short form.
Exits with 1 on any miss.

  --faults LIST     names or beginnings of names, each with its own count if you like: kill-trainer:50,damaged:20
  --count N         how often each (default 1)
  --seed N          of all random moments (default: from the clock; it is printed)
  --per-run N       faults in one training (default ${PER_RUN})
  --patience X      multiplies the limits of time to the next new step (default 1; ${SHORT_PATIENCE} in the short form)
  --json FILE       every injection, with seed, versions and device
  --goodput LIST    no faults but SIGKILL once in so many restart times, each in a training of its own: 20,50; the share
                    of its wall time that moved it forward has to be 90 %, from 50 on 95 %
  --kills N         how many in each of those (default 3)
  --keep            leave the folder with stores, caches and logs

Faults:
${scenarios.map(({ name, about }) => `  ${name.padEnd(26)}${about}`).join('\n')}
`;

const options = {
  faults: { type: 'string' },
  count: { type: 'string', default: '1' },
  seed: { type: 'string' },
  'per-run': { type: 'string', default: String(PER_RUN) },
  patience: { type: 'string' },
  json: { type: 'string' },
  goodput: { type: 'string' },
  kills: { type: 'string', default: '3' },
  keep: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Returns the exit code. */
export async function chaos(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const startedMs = Date.now();
  const say = (text: string): void =>
    console.log(`${((Date.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${text}`);
  const seed = whole('--seed', values.seed ?? String(Date.now() % 1_000_000), 0);
  if (values.goodput !== undefined) {
    const spans = values.goodput.split(',').map((each) => whole('--goodput', each, 2));
    return await goodputOver(spans, { ...values, kills: whole('--kills', values.kills, 1), seed, say });
  }
  const { faults: list } = values;
  const faults = list === undefined ? scenarios.flatMap((each) => times(each, each.short)) : chosen(list, values.count);
  const patience = Number(values.patience ?? (list === undefined ? SHORT_PATIENCE : 1));
  console.log(`${faults.length} faults, seed ${seed}`);
  const house = await House.open();
  let campaign: Campaign;
  try {
    const perRun = whole('--per-run', values['per-run'], 1);
    campaign = await runCampaign({ house, random: new Random(seed), faults, perRun, patience, say });
  } finally {
    await house.close({ keep: values.keep });
    if (values.keep) console.log(`kept in ${house.dir}`);
  }
  const { injections, stallSeconds, runs, trainer } = campaign;
  const seconds = (Date.now() - startedMs) / 1000;
  const missed = injections.filter(({ misses }) => misses.length > 0).length;
  const stall = { count: stallSeconds.length, medianSeconds: median(stallSeconds), maxSeconds: largest(stallSeconds) };
  console.log(`\n${table(injections)}\n`);
  console.log(
    `A checkpoint every ${CHECKPOINT_EVERY} of ${STEPS} steps; ${stall.count} saves, each a standstill of ${milliseconds(stall.medianSeconds)} (median), ${milliseconds(stall.maxSeconds)} (most).`,
  );
  console.log(
    `${runs} runs in ${seconds.toFixed(0)} s; ${missed === 0 ? 'every fault was recovered from' : `${missed} of ${injections.length} faults missed`}.`,
  );
  if (values.json !== undefined) {
    const report = {
      seed,
      seconds,
      steps: STEPS,
      checkpointEverySteps: CHECKPOINT_EVERY,
      ...(await machine(trainer)),
      stall,
      faults: rowsOf(injections),
      injections,
    };
    await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  return missed === 0 ? 0 : 1;
}

async function goodputOver(
  spans: readonly number[],
  {
    kills,
    seed,
    say,
    keep,
    json,
  }: { kills: number; seed: number; say: (text: string) => void; keep: boolean; json?: string | undefined },
): Promise<number> {
  const house = await House.open();
  const trials = await goodputTrials(house, new Random(seed), { spans, kills, say }).finally(() =>
    house.close({ keep }),
  );
  if (json !== undefined)
    await writeFile(json, `${JSON.stringify({ seed, ...(await machine(null)), trials }, null, 2)}\n`);
  return trials.every(({ misses }) => misses.length === 0) ? 0 : 1;
}

function chosen(list: string, count: string): Scenario[] {
  return list.split(',').flatMap((word) => {
    const [beginning = '', own = count] = word.trim().split(':');
    const found = scenarios.filter(({ name }) => name.startsWith(beginning));
    if (found.length === 0 || beginning === '')
      throw new RangeError(
        `--faults ${JSON.stringify(word)} names no fault; expected some of ${scenarios.map(({ name }) => name).join(', ')}`,
      );
    return found.flatMap((each) => times(each, whole('--count', own, 1)));
  });
}

function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new RangeError(`${option} is ${text}; expected a whole number from ${least}`);
}

const times = (scenario: Scenario, count: number): Scenario[] => Array.from({ length: count }, () => scenario);
const milliseconds = (seconds: number | null): string => `${((seconds ?? 0) * 1000).toFixed(1)} ms`;

async function machine(trainer: Campaign['trainer']): Promise<object> {
  return {
    versions: { node: process.version, temporal: await temporalVersion(), torch: trainer?.torch ?? null },
    device: { trainer: trainer?.device ?? null, cpu: cpus()[0]?.model ?? null, cores: cpus().length },
  };
}

async function temporalVersion(): Promise<string> {
  const { stdout } = await promisify(execFile)((await findTemporal()) ?? 'temporal', ['--version']);
  return stdout.trim();
}

try {
  process.exitCode = await chaos(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof RangeError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS')))
    throw error;
  console.error((error as Error).message);
  process.exitCode = 2;
}
