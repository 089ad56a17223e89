/** The verbs of `reverie`. Exit codes: workers/exit-code.ts. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { exitCodeOf, exitCodes } from '../workers/exit-code.ts';
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

function examples(...lines: string[]): string {
  return `Examples:\n${lines.map((line) => `  reverie ${line}`).join('\n')}`;
}

function exitCodeLines(): string {
  const lines = Object.entries(exitCodes).map(([code, meaning]) => `  ${code.padEnd(5)}${meaning}`);
  return lines.join('\n');
}

const several = (value: string, before: string[] = []): string[] => [...before, value];
/** For a worker's answer. */
const deadline = () =>
  new Option('--deadline <seconds>', 'how long to wait for an answer').argParser(positive).default(30);

const program = new Command('reverie')
  .description('Durable fine-tuning of diffusion language models.')
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })
  .addHelpText('after', `\n${examples('start spec.json --id s1k --watch', 'resume s1k', 'COMMAND --help')}`)
  .addHelpText('afterAll', `\nExit codes:\n${exitCodeLines()}\n`);

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
  .addHelpText('after', `\n${examples('start', 'start infra/specs/s1k.json --id s1k --watch')}`)
  .action(async (file: string | undefined, options: { id?: string; watch: boolean }) => {
    const { start } = await import('./runs.ts');
    await start({ file: file ?? null, id: options.id ?? null, watch: options.watch, signal: stop.signal });
  });

program
  .command('watch')
  .description('Show a run live until it closes, or all that are open.')
  .argument('[run]', 'workflow id')
  .option('--json', 'a line of JSON for each change', false)
  .addHelpText('after', `\n${examples('watch', 'watch s1k', 'watch s1k --json | jq .live')}`)
  .action(async (run: string | undefined, { json }: { json: boolean }) => {
    await (await import('./runs.ts')).watch({ run: run ?? null, json, signal: stop.signal });
  });

program
  .command('status')
  .description('How a run stands now: stages, live figures, incidents, what to do where it is parked.')
  .argument('<run>', 'workflow id')
  .option('--json', 'as JSON', false)
  .addOption(deadline())
  .addHelpText('after', `\n${examples('status s1k', 'status s1k --json | jq .parked')}`)
  .action(async (run: string, { json, deadline }: { json: boolean; deadline: number }) => {
    await (await import('./status.ts')).status({ run, json, deadlineSeconds: deadline });
  });

program
  .command('resume')
  .description('Let a parked run go on, with changes to its train or eval part where they are given.')
  .argument('<run>', 'workflow id')
  .option('--set <field=value>', 'a change, such as train.microBatchSize=1; may be given again', several)
  .addOption(deadline())
  .addHelpText(
    'after',
    `\n${examples('resume s1k', 'resume s1k --set train.microBatchSize=1 --set train.queue=big-gpu')}`,
  )
  .action(async (run: string, { set = [], deadline }: { set?: string[]; deadline: number }) => {
    await (await import('./tell-run.ts')).resume({ run, set, deadlineSeconds: deadline });
  });

program
  .command('abort')
  .description('Give a run up: it ends as aborted, with the reason; its checkpoints stay.')
  .argument('<run>', 'workflow id')
  .option('--reason <text>', 'why')
  .addOption(deadline())
  .addHelpText('after', `\n${examples("abort s1k --reason 'wrong data'")}`)
  .action(async (run: string, { reason = null, deadline }: { reason?: string | null; deadline: number }) => {
    await (await import('./tell-run.ts')).abort({ run, reason, deadlineSeconds: deadline });
  });

program
  .command('cancel')
  .description('Cancel a run as Temporal does: its trainer saves a checkpoint, then it closes as cancelled.')
  .argument('<run>', 'workflow id')
  .addOption(deadline())
  .addHelpText('after', `\n${examples('cancel s1k --deadline 120')}`)
  .action(async (run: string, { deadline }: { deadline: number }) => {
    await (await import('./tell-run.ts')).cancel({ run, deadlineSeconds: deadline });
  });

program
  .command('report')
  .description('The report of a finished run, on standard output, or where it lies.')
  .argument('<run>', "workflow id, or its report's path, key or address")
  .addOption(
    new Option('--format <format>', 'which of its files').choices(['markdown', 'html', 'json']).default('markdown'),
  )
  .option('--where', 'its address alone', false)
  .addHelpText('after', `\n${examples('report s1k', 'report s1k --format html > s1k.html', 'report s1k --where')}`)
  .action(async (run: string, options: { format: 'markdown' | 'html' | 'json'; where: boolean }) => {
    await (await import('./report.ts')).report({ run, ...options });
  });

program
  .command('logs')
  .description("The trainer's own output, attempt after attempt, from the store.")
  .argument('<run>', 'workflow id')
  .option('--follow', 'until the run has closed', false)
  .addHelpText('after', `\n${examples('logs s1k', 'logs s1k --follow')}`)
  .action(async (run: string, { follow }: { follow: boolean }) => {
    await (await import('./tracking.ts')).logs({ run, follow, signal: stop.signal });
  });

program
  .command('tensorboard')
  .description("TensorBoard on this machine, over the store's event files of a run, as they grow.")
  .argument('<run>', 'workflow id')
  .option('--port <n>', 'port on 127.0.0.1', positive, 6006)
  .addHelpText('after', `\n${examples('tensorboard s1k', 'tensorboard s1k --port 6007')}`)
  .action(async (run: string, { port }: { port: number }) => {
    await (await import('./tracking.ts')).tensorboard({ run, port, signal: stop.signal });
  });

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
  .addHelpText('after', `\n${examples('verify s1k', 'verify s3://bucket/prefix/artifacts/report/KEY/report.html')}`)
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
