/** Compiles a training's kernels while its weights are on their way to this host. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { TrainerTrainSpec } from '../../contracts/trainer.ts';
import type { Execution, GpuDeps } from '../gpu-deps.ts';
import { ATTEMPT_MARK, killMarked, trainerMarks } from '../trainer/process-tree.ts';
import type { Kernels } from './kernels.ts';

const FAILED = 'compiling ahead failed; the training does it';

export interface Precompile {
  deps: Pick<GpuDeps, 'python' | 'cacheDir' | 'ranks' | 'log'>;
  execution: Pick<Execution, 'attemptPrefix'>;
  /** Its model's folder needs no weights. */
  spec: TrainerTrainSpec;
  kernels: Kernels;
  runDir: string;
  signal: AbortSignal;
  timeoutSeconds: number;
}

/** Never rejects: what it did not compile, the training does. Leaves no process behind. */
export async function precompile(ahead: Precompile): Promise<void> {
  const { deps, execution, spec, kernels, runDir, signal, timeoutSeconds } = ahead;
  const attempt = execution.attemptPrefix;
  try {
    await mkdir(runDir, { recursive: true });
    const specFile = join(runDir, 'precompile.json');
    await writeFile(specFile, JSON.stringify(spec, null, 2));
    const files = ['--spec', specFile, '--kernels', kernels.file, '--ranks', String(deps.ranks)];
    const logFile = join(runDir, 'precompile.log');
    const log = createWriteStream(logFile);
    await once(log, 'open');
    const { failed, shortMessage } = await execa(deps.python, ['-m', 'dream_trainer', 'precompile', ...files], {
      env: trainerMarks({ attempt, cacheDir: deps.cacheDir }),
      // Not pipes, which the compiler's own processes would hold open when it has ended.
      stdio: ['ignore', log, log],
      reject: false,
      cancelSignal: signal,
      timeout: timeoutSeconds * 1000,
    }).finally(() => log.end());
    if (failed && !signal.aborted)
      deps.log.warn({ reason: shortMessage, told: (await readFile(logFile, 'utf8')).slice(-2000) }, FAILED);
    await kernels.share();
  } catch (error) {
    deps.log.warn({ err: error }, FAILED);
  } finally {
    await killMarked(ATTEMPT_MARK, attempt).catch(() => undefined);
  }
}
