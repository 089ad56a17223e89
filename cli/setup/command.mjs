/** Runs the programs that set-up needs, keeps the end of what they say, and takes them along when set-up is stopped. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { SetupError } from './say.mjs';

const KEPT_CHARACTERS = 6000;
const GRACE_MS = 3000;

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
let stopping = false;

/**
 * @typedef {{ code: number | null, output: string }} Outcome  `code` is null when it could not start or was killed.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<Outcome>}
 */
export function tryCommand(program, args, options = {}) {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output = (output + text).slice(-KEPT_CHARACTERS);
      });
    }
    const end = (/** @type {Outcome} */ outcome) => {
      running.delete(child);
      if (!stopping) resolve(outcome); // Nobody is to be told of what the signal ended.
    };
    child.on('error', (error) => end({ code: null, output: error.message }));
    child.on('close', (code) => end({ code, output }));
  });
}

/**
 * As tryCommand, and throws SetupError when it fails: `advice` is what to do about it.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, advice: string }} options
 */
export async function command(program, args, { advice, ...options }) {
  const { code, output } = await tryCommand(program, args, options);
  if (code === 0) return output;
  const how = code === null ? 'did not run to its end' : `ended with exit code ${code}`;
  throw new SetupError(
    `\`${program} ${args.join(' ')}\` ${how}; expected exit code 0; ${advice}. Its last words:\n${output.trim()}`,
  );
}

/** @param {NodeJS.Signals} signal */
export function endPrograms(signal) {
  for (const child of running) child.kill(signal);
}

/**
 * While set-up runs, a signal ends its programs too, and set-up ends after them: its lock must outlive what writes
 * into the clone. Returns the way to take this back before handing over.
 */
export function stopOnSignals() {
  const stop = (/** @type {NodeJS.Signals} */ signal) => {
    stopping = true;
    endPrograms(signal);
    setTimeout(() => endPrograms('SIGKILL'), GRACE_MS);
    setInterval(() => {
      if (running.size === 0) process.exit(128 + constants.signals[signal]);
    }, 20);
  };
  /** @type {NodeJS.Signals[]} */
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, stop);
  return () => {
    for (const signal of signals) process.off(signal, stop);
  };
}
