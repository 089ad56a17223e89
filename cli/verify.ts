/**
 * `reverie verify RUN`: reads a finished run's whole lineage again and does some of its training once more. It takes
 * the store alone, which is only read; Temporal is asked only where RUN is a workflow id.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { openStore } from '../activities/store/open-store.ts';
import { Attempts } from '../activities/train/attempts.ts';
import { readEnvironment } from '../workers/environment.ts';
import { findReport, readReport } from './compare/finished-run.ts';
import { type Check, checkLine, fail } from './doctor/check.ts';
import { verifyCheckpoints } from './verify/checkpoints.ts';
import { chooseRuns } from './verify/choose-runs.ts';
import { type Report, reportSchema, verifyLineage } from './verify/lineage.ts';
import { type Replayed, replay } from './verify/replay.ts';
import { byOneSetting } from './verify/setting.ts';

export interface VerifyOptions {
  /** Workflow id, or path or address of a report. */
  run: string;
  /** How many steps are replayed. */
  steps: number;
  /** Chooses them; null draws one. */
  seed: number | null;
  onlyHashes: boolean;
  json: boolean;
  signal: AbortSignal;
  out?: Writable;
}

const NAME_WIDTH = 18;

/** Returns the exit code: 1 when something is not as stated. Throws InvalidSpec for an unknown run. */
export async function verify({
  run,
  steps: count,
  onlyHashes,
  json,
  signal,
  ...options
}: VerifyOptions): Promise<0 | 1> {
  const out = options.out ?? process.stdout;
  const seed = options.seed ?? randomInt(2 ** 31);
  const { storeUrl, cacheDir, python } = readEnvironment();
  const place = await findReport(run);
  const store = openStore(place.storeUrl ?? storeUrl);
  const report = await readReport(store, place, reportSchema);
  const checks: Check[] = [];
  const tell = (check: Check): void => {
    checks.push(check);
    if (!json) out.write(checkLine(check, NAME_WIDTH));
  };

  const dir = join(cacheDir, 'scratch', `verify-${randomUUID()}`);
  const replayed: Replayed[] = [];
  try {
    const steps = await verifyLineage({ store, report, reportPath: place.key, dir, signal, tell });
    const trainKey = report.artifacts.train.key;
    const checkpoints = await verifyCheckpoints({ store, trainKey, steps, dir, signal, tell });
    if (steps !== null && !onlyHashes) {
      const starts = [0, ...checkpoints.map(({ step }) => step)];
      const attempts = await new Attempts(store, trainKey).list();
      for (const chosen of chooseRuns({ starts, end: report.summaries.train.steps, steps: count, seed })) {
        const part = byOneSetting(chosen, attempts, { sharded: false, ...report.summaries.train });
        const one = await replay({ report, steps, checkpoints, ...part, dir, python, signal });
        tell(one.check);
        replayed.push(one);
      }
    }
    if (steps === null) tell(fail('replay', 'none, as model, filter or train is not as stated', 'see above'));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }

  const sound = checks.every(({ status }) => status !== 'fail');
  const words = conclude({ report, sound, replayed, seed });
  if (json) {
    const lines = replayed.map(({ check: _, ...line }) => line);
    out.write(
      `${JSON.stringify({ ok: sound, store: store.url, report: place.key, seed, checks, replayed: lines, ...words })}\n`,
    );
  } else out.write(`\n${words.proven}\n${words.notProven}\n`);
  return sound ? 0 : 1;
}

interface Outcome {
  report: Report;
  sound: boolean;
  replayed: readonly Replayed[];
  seed: number;
}

function conclude({ report, sound, replayed, seed }: Outcome): { proven: string; notProven: string } {
  const { steps, weightsSha256, device, torch, ranks, recipe } = report.summaries.train;
  const count = replayed.reduce((sum, { from, to }) => sum + to - from, 0);
  const toTheEnd = replayed.some(({ to, exact }) => exact && to === steps);
  const exact = replayed.every(({ exact }) => exact);
  const where = replayed[0]?.hardware;
  const training = `trained on ${device}, PyTorch ${torch}, ${ranks} ${ranks === 1 ? 'rank' : 'ranks'}, ${recipe}`;
  const hashes =
    'every file from data to report is the one that the run made, and each stage was made from those before it';
  const steppedOver =
    count === 0
      ? ''
      : `; ${count} of ${steps} steps came out ${exact ? 'equal to the bit' : 'equal to rounding'} on ${where}`;
  const end = toTheEnd ? `, and end in the published weights ${weightsSha256.slice(0, 8)}…` : '';
  const missing = [
    ...(count < steps
      ? [
          `${count === 0 ? 'any step' : `the other ${steps - count} steps`} of the training (--steps ${steps} replays all)`,
        ]
      : []),
    ...(toTheEnd ? [] : ['the last steps up to the published weights']),
    'the answers of both evaluations, which were read and not generated again',
    'that the sources hold what their names say',
    'on which hosts the attempts ran',
  ];
  return {
    proven: sound
      ? `Proven: ${hashes}${steppedOver}${end}. It says that it was ${training}.${count === 0 ? '' : ` Steps drawn with --seed ${seed}.`}`
      : 'NOT as stated: see the lines with ✗. Nothing in the store was changed.',
    notProven: `Not proven: ${missing.join('; ')}.`,
  };
}
