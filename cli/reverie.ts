/** The verbs of `reverie`. Exit codes: 0 done, 1 failed, 2 bad input or nothing to reach, 130 stopped by a signal. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { exitCodeOf } from '../workers/exit-code.ts';
import { addScheduleVerbs } from './schedule/verbs.ts';
import { SetupError } from './setup/say.mjs';

class Stopped extends Error {}
const stop = new AbortController();
/** Under npm one Ctrl-C arrives twice, from the terminal and from npm. */
const ONE_PRESS_MS = 1000;
let pressedMs: number | null = null;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    pressedMs ??= performance.now();
    if (!stop.signal.aborted) stop.abort(new Stopped(signal));
    // Pressed again: at once. Children are killed on the way out.
    else if (performance.now() - pressedMs > ONE_PRESS_MS) process.exit(130);
  });
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number from 1.');
  return value;
}

const program = new Command('reverie')
  .description('Durable fine-tuning of diffusion language models.')
  .exitOverride()
  .configureHelp({ showGlobalOptions: false });

program
  .command('demo')
  .description('The whole run on the embedded model and data, on this machine.')
  .option('--keep', 'leave server and workers up', false)
  .option('--preempt', 'SIGKILL the trainer in mid-training; compare with an undisturbed run', false)
  .option('--json', 'end with one line of JSON', false)
  .option('--dir <folder>', 'where server, store, cache and logs lie (default: .reverie/demo)')
  .option('--spec <file>', "another run spec than the demo's own")
  .action(async (options: { keep: boolean; preempt: boolean; json: boolean; dir?: string; spec?: string }) => {
    const { demo } = await import('./demo.ts');
    await demo({ ...options, dir: options.dir ?? null, spec: options.spec ?? null, signal: stop.signal });
  });

program
  .command('up')
  .description('Temporal dev server with UI, a CPU worker and a GPU-queue worker, on this machine.')
  .action(async () => (await import('./up.ts')).up(stop.signal));

program
  .command('worker')
  .description('One worker, until SIGTERM: cpu runs workflows and light activities, gpu the trainer.')
  .argument('<kind>', 'cpu or gpu')
  .option('--queue <name>', 'task queue of a GPU worker', 'reverie-gpu')
  .option('--ranks <n>', 'trainer processes (default: one for each GPU)', positive)
  .option('--grace-seconds <n>', 'what a stop leaves for the last checkpoint', positive, 110)
  .option('--log-level <level>', 'debug, info, warn or error', 'info')
  .action(async (kind: string, options: { queue: string; ranks?: number; graceSeconds: number; logLevel: string }) => {
    if (kind !== 'cpu' && kind !== 'gpu') throw new InvalidArgumentError(`Worker kind ${kind}; expected cpu or gpu.`);
    const { runWorker } = await import('../workers/worker.ts');
    await runWorker({ ...options, kind, ranks: options.ranks ?? null });
  });

program
  .command('start')
  .description('Start a run, as `temporal workflow start --type fineTune` does.')
  .argument('[spec]', 'run spec, a JSON file (default: {}, the recipe for Dream 7B and s1K-1.1)')
  .option('--id <id>', 'workflow id')
  .option('--watch', 'show it live until it closes', false)
  .action(async (file: string | undefined, options: { id?: string; watch: boolean }) => {
    const { start } = await import('./runs.ts');
    await start({ file: file ?? null, id: options.id ?? null, watch: options.watch, signal: stop.signal });
  });

program
  .command('watch')
  .description('Show a run live until it closes.')
  .argument('<run>', 'workflow id')
  .action(async (run: string) => (await import('./runs.ts')).watch(run, stop.signal));

program
  .command('status')
  .description('How a run stands now: stages, live figures, incidents, what to do where it is parked.')
  .argument('<run>', 'workflow id')
  .option('--json', 'as JSON', false)
  .action(async (run: string, options: { json: boolean }) => (await import('./status.ts')).status({ run, ...options }));

addScheduleVerbs(program);

program
  .command('plan')
  .description('What a spec would do: rows, steps, memory, what is cached. Starts nothing.')
  .argument('[spec]', 'run spec, a JSON file')
  .option('--gpus <n>', 'GPUs to plan for (default: those of this host)', positive)
  .option('--gpu-memory-gib <gib>', 'memory of each', positive)
  .option('--json', 'as JSON', false)
  .action(async (file: string | undefined, options: { gpus?: number; gpuMemoryGib?: number; json: boolean }) => {
    const { plan } = await import('./plan.ts');
    const { gpus = null, gpuMemoryGib = null, json } = options;
    process.exitCode = await plan({ file: file ?? null, json, gpus, gpuMemoryGib, signal: stop.signal });
  });

program
  .command('compare')
  .description('Base and tuned model of a finished run answer one prompt side by side, token by token.')
  .argument('<run>', 'workflow id, or the path of its report')
  .argument('<prompt>', 'a user message')
  .option('--max-new-tokens <n>', 'tokens of an answer', positive)
  .option('--steps <n>', 'denoising steps', positive)
  .action(async (run: string, prompt: string, options: { maxNewTokens?: number; steps?: number }) => {
    const { compare } = await import('./compare.ts');
    await compare({ run, prompt, ...options, signal: stop.signal });
  });

program
  .command('verify')
  .description(
    'Read a finished run again from data to model, and replay some of its steps to the bit. Changes nothing.',
  )
  .argument('<run>', "workflow id, or its report's path, key or address")
  .option('--steps <n>', 'steps to replay, from the base and from kept checkpoints', positive, 8)
  .option('--seed <n>', 'chooses them (default: drawn, and told)', positive)
  .option('--only-hashes', 'replay nothing: takes no trainer', false)
  .option('--json', 'as JSON', false)
  .addHelpText(
    'after',
    '\nExample, with the store alone:\n  reverie verify s3://bucket/prefix/artifacts/report/KEY/report.html',
  )
  .action(async (run: string, options: { steps: number; seed?: number; onlyHashes: boolean; json: boolean }) => {
    const { verify } = await import('./verify.ts');
    process.exitCode = await verify({ run, ...options, seed: options.seed ?? null, signal: stop.signal });
  });

program
  .command('doctor')
  .description('Look at everything that a run needs; each line says how to mend it.')
  .option('--json', 'as JSON', false)
  .option('--fix', 'create missing search attributes', false)
  .action(async (options: { json: boolean; fix: boolean }) => {
    process.exitCode = await (await import('./doctor.ts')).doctor(options);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (stop.signal.aborted) process.exitCode = 130;
  else {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof SetupError ? 2 : exitCodeOf(error);
  }
}
