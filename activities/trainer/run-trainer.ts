/**
 * Runs one `python -m dream_trainer` as a process tree of its own: follows its events, holds it to a deadline in each
 * phase, stops it with time to save, and kills it to the last process. What it ended with becomes a result or one of
 * our failures.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { constants, hostname } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { type FailureDetails, isFailureType, ReverieFailure } from '../../contracts/failures.ts';
import { EXIT_DISK_FULL, EXIT_PREEMPTED, type TrainerEvent, type TrainerPhase } from '../../contracts/trainer.ts';
import { asDiskFull } from '../store/disk-full.ts';
import { followEvents } from './follow-events.ts';
import { ATTEMPT_MARK, killMarked, trainerMarks } from './process-tree.ts';

export interface TrainerRun {
  python: string;
  command: 'train' | 'eval' | 'replay';
  /** Beside spec and folder. */
  args?: readonly string[];
  /** Added to the process's environment. */
  env?: Record<string, string>;
  /** Written to `spec.json`. */
  spec: object;
  runDir: string;
  /** Marks the processes; unique. */
  attempt: string;
  cacheDir: string;
  ranks: number;
  /** Aborted: SIGTERM, then time to save. */
  signal: AbortSignal;
  /** Longest time without an event in each phase, in seconds. */
  deadlines: Record<TrainerPhase, number>;
  /** From SIGTERM to SIGKILL, asked when it is time. */
  graceSeconds: () => number;
  onEvent: (event: TrainerEvent) => void;
  /** Called about once a second while the trainer is within its deadline. */
  onAlive: () => void;
}

export type DoneEvent = Extract<TrainerEvent, { type: 'done' }>;
type IncidentEvent = Extract<TrainerEvent, { type: 'incident' }>;

const LOG_CHARACTERS = 2000;
/** What Rust's and C++'s libraries say when they end a process that has no memory left, in place of an incident. */
const MEMORY_RAN_OUT = /memory allocation of \d+ bytes failed|std::bad_alloc/;

/**
 * Resolves with the `done` event. Throws ReverieFailure: Preempted when it was stopped or killed from outside (its
 * last checkpoint has been reported by then), TrainerHung past a deadline, and what its incident names otherwise.
 */
export async function runTrainer(run: TrainerRun): Promise<DoneEvent> {
  await mkdir(run.runDir, { recursive: true });
  const specFile = join(run.runDir, 'spec.json');
  await writeFile(specFile, JSON.stringify(run.spec, null, 2));
  const log = createWriteStream(join(run.runDir, `${run.command}.log`), { flags: 'a' });
  // A full disk costs lines of the log, not the worker; what they would have said comes as an incident.
  log.on('error', () => {});
  const ranks = run.ranks > 1 ? ['--ranks', String(run.ranks)] : [];
  const trainer = execa(
    run.python,
    ['-m', 'dream_trainer', run.command, '--spec', specFile, '--run-dir', run.runDir, ...ranks, ...(run.args ?? [])],
    {
      env: {
        ...run.env,
        PYTHONUNBUFFERED: '1',
        PYTHONUTF8: '1',
        ...trainerMarks(run),
      },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      cleanup: true,
    },
  );
  let tail = '';
  for (const stream of [trainer.stdout, trainer.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log.write(chunk);
      tail = (tail + chunk.toString()).slice(-LOG_CHARACTERS);
    });
  }

  let phase: TrainerPhase = 'start';
  let step: number | null = null;
  let heardMs = performance.now();
  let hung: number | null = null;
  let stopping = false;
  // What survives is met again when the trainer's events have ended.
  const kill = (): void => void killMarked(ATTEMPT_MARK, run.attempt).catch(() => undefined);
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    trainer.kill('SIGTERM');
    killTimer = setTimeout(kill, run.graceSeconds() * 1000);
  };
  let killTimer: NodeJS.Timeout | undefined;
  const watch = setInterval(() => {
    const silentSeconds = (performance.now() - heardMs) / 1000;
    if (silentSeconds <= run.deadlines[phase] || stopping) return run.onAlive();
    hung = silentSeconds;
    kill();
  }, 1000);
  run.signal.addEventListener('abort', stop, { once: true });
  if (run.signal.aborted) stop();

  let done: DoneEvent | null = null;
  let incident: IncidentEvent | null = null;
  try {
    for await (const event of followEvents(join(run.runDir, 'events.jsonl'), trainer)) {
      heardMs = performance.now();
      if (event.type === 'phase') phase = event.phase;
      if (event.type === 'step' || event.type === 'checkpoint') step = event.step;
      if (event.type === 'done') done = event;
      if (event.type === 'incident') incident = event;
      run.onEvent(event);
    }
  } finally {
    clearInterval(watch);
    run.signal.removeEventListener('abort', stop);
    await killMarked(ATTEMPT_MARK, run.attempt);
    clearTimeout(killTimer);
    log.end();
  }
  const { exitCode, signal } = await trainer;
  if (exitCode === 0 && done) return done;
  if (hung !== null) throw hangs(phase, hung, step);
  if (incident) throw failureOfIncident(incident, run);
  if (exitCode === EXIT_DISK_FULL) throw diskFull(run.runDir, tail);
  // A signal from outside is a preemption, ours or another's; attempts that never advance end as NoProgress.
  const told = stopping || exitCode === EXIT_PREEMPTED;
  if (told || isEndedFromOutside(exitCode, signal)) {
    throw new ReverieFailure(
      'Preempted',
      `The trainer was stopped (${signal ?? `exit ${exitCode}`}) in phase ${phase}${step === null ? '' : ` at step ${step}`}; it goes on from the newest checkpoint.`,
      { step, killed: !told },
    );
  }
  const aborted = MEMORY_RAN_OUT.exec(tail);
  if (aborted) throw outOfMemory(aborted[0], phase, step, run);
  throw new ReverieFailure(
    'TrainerCrashed',
    `The trainer ended with ${signal ?? `exit ${exitCode}`} in phase ${phase} on ${hostname()}; expected exit 0; read the last lines of its log, ${join(run.runDir, `${run.command}.log`)}:\n${tail.trim()}`,
    { exitCode: exitCode ?? null, signal: signal ?? null, step, log: tail },
  );
}

/** With several ranks, the launcher tells a signal as a shell does: 128 and its number. A fault such as SIGSEGV is a crash. */
function isEndedFromOutside(exitCode: number | undefined, signal: string | undefined): boolean {
  const { SIGHUP, SIGINT, SIGKILL, SIGTERM } = constants.signals;
  const number = signal === undefined ? (exitCode ?? 0) - 128 : constants.signals[signal as NodeJS.Signals];
  return [SIGHUP, SIGINT, SIGKILL, SIGTERM].includes(number);
}

function hangs(phase: TrainerPhase, seconds: number, step: number | null): ReverieFailure {
  return new ReverieFailure(
    'TrainerHung',
    `The trainer on ${hostname()} gave no sign for ${Math.round(seconds)} s in phase ${phase}; expected one within policy.phaseDeadlineSeconds.${phase}; it was killed. If the phase is only slow there, raise that deadline.`,
    { phase, seconds, step },
  );
}

function outOfMemory(told: string, phase: TrainerPhase, step: number | null, { spec }: TrainerRun): ReverieFailure {
  const microBatchSize = 'microBatchSize' in spec ? Number(spec.microBatchSize) : 0;
  return new ReverieFailure(
    'OutOfMemory',
    `The memory of ${hostname()} ran out in phase ${phase} (${told}); expected to fit; halve the micro-batch, or use a host with more memory.`,
    { phase, microBatchSize, step },
  );
}

function diskFull(path: string, tail: string): ReverieFailure {
  return new ReverieFailure(
    'DiskFull',
    `The trainer found no room in ${path} on ${hostname()}, not even to say so there; expected free space; free some, or point REVERIE_CACHE_DIR at a larger disk:\n${tail.trim()}`,
    { path },
  );
}

/** The trainer's own word on what went wrong; its exit status adds nothing to it. */
function failureOfIncident({ kind, message, step, details }: IncidentEvent, run: TrainerRun): ReverieFailure {
  switch (kind) {
    case 'OutOfMemory':
      return new ReverieFailure(kind, message, {
        phase: text(details.phase),
        microBatchSize: Number(details.microBatchSize) || 0,
        step,
      });
    case 'Diverged':
      return new ReverieFailure(kind, message, {
        step: step ?? 0,
        rows: Array.isArray(details.rows) ? details.rows.map(Number) : [],
        value: text(details.loss),
      });
    case 'HardwareFault':
      return new ReverieFailure(kind, `${message} (host ${hostname()})`, { host: hostname(), step });
    case 'DiskFull':
      return new ReverieFailure(kind, message, { path: run.runDir });
    case 'InvalidSpec':
      return new ReverieFailure(kind, message, { problems: [message] });
    case 'TrainerCrashed': {
      const crash: FailureDetails['TrainerCrashed'] = { exitCode: 1, signal: null, step, log: text(details.traceback) };
      return new ReverieFailure(kind, message, crash);
    }
    default:
      return kind satisfies never;
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));

/** Whatever else went wrong around a trainer is a crash to the workflow: it has no budget of its own. */
export function asTrainerFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof ReverieFailure || isFailureType(error.name)) return error;
  if (['AbortError', 'CancelledFailure', 'ActivityStalled'].includes(error.name)) return error;
  const full = asDiskFull(error, (error as NodeJS.ErrnoException).path ?? 'a file');
  if (full !== null) return full;
  return new ReverieFailure(
    'TrainerCrashed',
    `${error.name}: ${error.message}`,
    { exitCode: null, signal: null, step: null, log: error.stack ?? '' },
    { cause: error },
  );
}
