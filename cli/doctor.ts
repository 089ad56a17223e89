/**
 * `reverie doctor [--json] [--fix]`: everything that a run needs, looked at before it starts. Each line that is not
 * right says how to mend it; `--fix` mends what is only a matter of creating it.
 */
import type { Writable } from 'node:stream';
import { readEnvironment } from '../workers/environment.ts';
import { type Check, checkLine } from './doctor/check.ts';
import { checkNodeAndPackages, checkTemporalCli, checkTrainer } from './doctor/programs.ts';
import { checkDisk, checkStore } from './doctor/storage.ts';
import { checkTemporalServer } from './doctor/temporal.ts';

export interface DoctorOptions {
  json: boolean;
  /** Create missing search attributes. */
  fix: boolean;
  out?: Writable;
}

/** Returns the exit code: 1 when something would stop a run. */
export async function doctor({ json, fix, out = process.stdout }: DoctorOptions): Promise<0 | 1> {
  const { storeUrl, cacheDir, python } = readEnvironment();
  const programs = checkNodeAndPackages();
  const groups = await Promise.all([
    checkTemporalCli(),
    checkTrainer(python),
    checkTemporalServer({ fix }),
    checkStore(storeUrl),
    checkDisk(cacheDir),
  ]);
  const checks = [...programs, ...groups.flat()];
  const healthy = checks.every(({ status }) => status !== 'fail');
  out.write(json ? `${JSON.stringify({ ok: healthy, checks })}\n` : lines(checks));
  return healthy ? 0 : 1;
}

function lines(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length)) + 2;
  return checks.map((check) => checkLine(check, width)).join('');
}
