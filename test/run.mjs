/**
 * Every check and test of the project, in one run that goes on past failures and ends with a summary. `npm test` sets
 * up and calls this; in an environment that is set up it runs alone:
 *
 *     node test/run.mjs [--only lint|ts|py] [PATTERN …]
 *
 * A PATTERN is a part of a test file's path. With REVERIE_SECOND_TRY=1, as in CI, one or two test files that failed are
 * run again, alone, and what passes only then is told at the end: whole stacks on two busy cores are at times too slow.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../cli/setup/paths.mjs';
import { pythonInUse } from '../cli/setup/python.mjs';
import { seconds } from '../cli/setup/say.mjs';

/** @typedef {{ name: string, ok: boolean, ms: number }} Outcome */
/** @typedef {{ name: string, program: string, args: string[], cwd?: string, env?: Record<string, string> }} Check */
/** @typedef {{ files: string[], atOnce: number, quiet: boolean }} Batch Quiet: told when it has ended. */
/** @typedef {{ skipped: string[], failures: string[], second: string[] }} Told What people read at the end. */

/** Test files at a time, on the two cores that the suite is sized for. */
const FILES_AT_ONCE = 2;
/** As many again as live tests leave a core idle: they start whole stacks, and wait for what they have killed. */
const FILES_AT_ONCE_WITH_LIVE = 3;
const LIVE = /^test\/(chaos|crash|e2e)\//;
const LONGEST_FILE_MS = 600_000;
/** More that fail at once are no accident. */
const MOST_TRIED_AGAIN = 2;

const python = pythonInUse();
const tool = (/** @type {string} */ name) => join(root, 'node_modules', '.bin', name);

/** @type {Check[]} */
const lintChecks = [
  { name: 'tsc', program: tool('tsc'), args: ['--noEmit'] },
  { name: 'eslint', program: tool('eslint'), args: ['.', '--max-warnings=0'] },
  { name: 'biome', program: tool('biome'), args: ['ci', '--colors=off', '--error-on-warnings', '.'] },
  { name: 'ruff check', program: python, args: ['-m', 'ruff', 'check', 'trainer'] },
  { name: 'ruff format', program: python, args: ['-m', 'ruff', 'format', '--check', 'trainer'] },
  { name: 'pyright', program: tool('pyright'), args: ['--project', 'trainer', '--pythonpath', python] },
];

/**
 * @param {string[]} argv
 * @returns {Promise<number>} Exit code.
 */
export async function runTests(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { only: { type: 'string' } },
  });
  const { only } = values;
  if (only !== undefined && !['lint', 'ts', 'py'].includes(only)) {
    console.error(`--only is ${only}; expected lint, ts or py; leave it out to run everything.`);
    return 2;
  }
  /** @type {Outcome[]} */
  const outcomes = [];
  /** @type {Told} */
  const told = { skipped: [], failures: [], second: [] };
  const wants = (/** @type {string} */ part) => only === undefined || only === part;
  if (wants('lint') && positionals.length === 0) outcomes.push(...(await lint()));
  const files = wants('ts') ? find('test', /\.test\.ts$/, positionals) : [];
  const live = files.filter((file) => LIVE.test(file));
  const liveAtOnce = Math.min(live.length, FILES_AT_ONCE);
  const others = {
    files: files.filter((file) => !LIVE.test(file)),
    atOnce: Math.min(FILES_AT_ONCE, FILES_AT_ONCE_WITH_LIVE - liveAtOnce),
    quiet: live.length > 0,
  };
  const beside = async () => [
    ...(await testTypeScript('TypeScript tests', others, told)),
    ...(wants('py') ? await testPython(positionals, others, told) : []),
  ];
  const sideBySide = [testTypeScript('live tests', { files: live, atOnce: liveAtOnce, quiet: false }, told), beside()];
  outcomes.push(...(await Promise.all(sideBySide)).flat());
  return summarise(outcomes, told);
}

/** Two at a time; a check that passes says nothing. */
async function lint() {
  /** @type {Outcome[]} */
  const outcomes = [];
  const waiting = [...lintChecks];
  const work = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const { outcome, output } = await run(check, { quiet: true });
      console.log(`${outcome.ok ? '✓' : '✗'} ${outcome.name}  ${seconds(outcome.ms)}`);
      if (!outcome.ok) console.log(output);
      outcomes.push(outcome);
    }
  };
  await Promise.all([work(), work()]);
  return outcomes;
}

/**
 * @param {string} name
 * @param {Batch} batch
 * @param {Told} told
 * @returns {Promise<Outcome[]>}
 */
async function testTypeScript(name, batch, told) {
  if (batch.files.length === 0) return [];
  const { outcome, skipped, failed } = await runFiles(name, batch);
  told.skipped.push(...skipped);
  const texts = failed.map((ending) => ending.failed);
  const files = [...new Set(failed.flatMap(({ file }) => file ?? []))];
  const once = process.env.REVERIE_SECOND_TRY !== '1' || files.length === 0 || files.length > MOST_TRIED_AGAIN;
  if (outcome.ok || once) {
    told.failures.push(...texts);
    return [outcome];
  }
  const again = await runFiles(`${name}, again`, { ...batch, files, atOnce: 1 });
  if (again.outcome.ok) told.second.push(...texts);
  else told.failures.push(...again.failed.map((ending) => ending.failed));
  return [{ ...outcome, ok: again.outcome.ok }, again.outcome];
}

/**
 * @param {string} name
 * @param {Batch} batch
 */
async function runFiles(name, { files, atOnce, quiet }) {
  const dir = mkdtempSync(join(tmpdir(), 'reverie-tests-'));
  const file = join(dir, 'endings');
  try {
    const args = ['--import', 'tsx', '--test', `--test-concurrency=${atOnce}`, `--test-timeout=${LONGEST_FILE_MS}`];
    args.push('--test-reporter=spec', '--test-reporter-destination=stdout');
    args.push('--test-reporter=./test/endings.mjs', `--test-reporter-destination=${file}`);
    // Stacks side by side on the CPU, as in CI, whatever GPUs there are: a trainer wants its GPU to itself.
    const check = { name, program: process.execPath, args: [...args, ...files], env: { CUDA_VISIBLE_DEVICES: '' } };
    const { outcome, output } = await run(check, { quiet });
    if (quiet) console.log(output);
    /** @type {import('./endings.mjs').Ending[]} */
    const endings = readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    return {
      outcome,
      skipped: endings.flatMap((ending) => ('skipped' in ending ? ending.skipped : [])),
      failed: endings.flatMap((ending) => ('failed' in ending ? ending : [])),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * @param {string[]} patterns
 * @param {{ quiet: boolean }} how
 * @param {Told} told
 */
async function testPython(patterns, { quiet }, told) {
  const files = find(join('trainer', 'tests'), /(^|\/)test_[^/]*\.py$/, patterns);
  if (files.length === 0) return [];
  const args = ['-m', 'pytest', '-ra', '--durations=5', ...files.map((file) => relative('trainer', file))];
  const check = { name: 'Python tests', program: python, args, cwd: join(root, 'trainer') };
  const { outcome, output } = await run(check, { quiet });
  if (quiet) console.log(output);
  const lines = (/** @type {RegExp} */ wanted) => output.match(wanted) ?? [];
  told.skipped.push(...lines(/^SKIPPED .*$/gm).map((line) => line.replace(/^SKIPPED (\[\d+\] )?/, '')));
  told.failures.push(...lines(/^(FAILED|ERROR) .*$/gm));
  return [outcome];
}

/**
 * @param {string} folder
 * @param {RegExp} name
 * @param {string[]} patterns
 */
function find(folder, name, patterns) {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => join(folder, file))
    .filter((file) => name.test(file) && (patterns.length === 0 || patterns.some((pattern) => file.includes(pattern))))
    .sort();
}

/**
 * @param {Check} check
 * @param {{ quiet?: boolean }} [options]
 * @returns {Promise<{ outcome: Outcome, output: string }>}
 */
function run({ name, program, args, cwd = root, env: more }, { quiet = false } = {}) {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    let output = '';
    // No test asks a cloud for notices, unless it serves them.
    const env = { ...process.env, AWS_EC2_METADATA_DISABLED: 'true', ...(quiet && { NO_COLOR: '1' }), ...more };
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const streams = /** @type {const} */ ([
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]);
    for (const [from, to] of streams) {
      from.setEncoding('utf8').on('data', (text) => {
        output += text;
        if (!quiet) to.write(text);
      });
    }
    child.on('error', (error) => {
      output += error.message;
    });
    child.on('close', (code) => {
      resolve({ outcome: { name, ok: code === 0, ms: performance.now() - startedAt }, output });
    });
  });
}

/**
 * @param {Outcome[]} outcomes
 * @param {Told} told Failures stand at the very end: between them and here are thousands of lines.
 */
function summarise(outcomes, { skipped, failures, second }) {
  if (outcomes.length === 0) {
    console.error('No test file matches; expected a part of a path under test/ or trainer/tests/.');
    return 2;
  }
  console.log(`\n${'─'.repeat(60)}`);
  for (const { name, ok, ms } of outcomes)
    console.log(`${ok ? '✓' : '✗'} ${name.padEnd(20)}${seconds(ms).padStart(10)}`);
  if (skipped.length > 0) console.log(`\nSkipped, with reasons:\n${skipped.map((line) => `  ${line}`).join('\n')}`);
  if (second.length > 0)
    console.log(`\nPassed only when run again, alone:\n${second.map((text) => `! ${text}`).join('\n')}`);
  if (failures.length > 0) console.log(`\nFailed tests:\n${failures.map((text) => `✗ ${text}`).join('\n')}`);
  const failed = outcomes.filter(({ ok }) => !ok).map(({ name }) => name);
  console.log(failed.length === 0 ? '\nEverything passed.' : `\nFailed: ${failed.join(', ')}.`);
  return failed.length === 0 ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) process.exitCode = await runTests(process.argv.slice(2));
