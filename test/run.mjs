/**
 * Every check and test of the project, in one run that goes on past failures and ends with a summary. `npm test` sets
 * up and calls this; in an environment that is set up it runs alone:
 *
 *     node test/run.mjs [--only lint|ts|py] [PATTERN …]
 *
 * A PATTERN is a part of a test file's path.
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
/** @typedef {{ name: string, program: string, args: string[], cwd?: string }} Check */

/** Test files at a time, on the two cores that the suite is sized for. */
const FILES_AT_ONCE = 2;
/** As many again as live tests leave a core idle: they start whole stacks, and wait for what they have killed. */
const FILES_AT_ONCE_WITH_LIVE = 3;
const LIVE = /^test\/(chaos|crash|e2e)\//;
const LONGEST_FILE_MS = 600_000;

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
  /** @type {string[]} */
  const skipped = [];
  /** @type {string[]} */
  const failures = [];
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
    ...(await testTypeScript('TypeScript tests', others, skipped, failures)),
    ...(wants('py') ? await testPython(positionals, others, skipped) : []),
  ];
  const sideBySide = [
    testTypeScript('live tests', { files: live, atOnce: liveAtOnce, quiet: false }, skipped, failures),
    beside(),
  ];
  outcomes.push(...(await Promise.all(sideBySide)).flat());
  return summarise(outcomes, skipped, failures);
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
 * @param {{ files: string[], atOnce: number, quiet: boolean }} batch Quiet: told when it has ended.
 * @param {string[]} skipped
 * @param {string[]} failures
 */
async function testTypeScript(name, { files, atOnce, quiet }, skipped, failures) {
  if (files.length === 0) return [];
  const dir = mkdtempSync(join(tmpdir(), 'reverie-tests-'));
  const endings = join(dir, 'endings');
  try {
    const args = ['--import', 'tsx', '--test', `--test-concurrency=${atOnce}`, `--test-timeout=${LONGEST_FILE_MS}`];
    args.push('--test-reporter=spec', '--test-reporter-destination=stdout');
    args.push('--test-reporter=./test/endings.mjs', `--test-reporter-destination=${endings}`);
    const { outcome, output } = await run({ name, program: process.execPath, args: [...args, ...files] }, { quiet });
    if (quiet) console.log(output);
    for (const line of readFileSync(endings, 'utf8').split('\n').filter(Boolean)) {
      /** @type {import('./endings.mjs').Ending} */
      const ending = JSON.parse(line);
      if ('failed' in ending) failures.push(ending.failed);
      else skipped.push(ending.skipped);
    }
    return [outcome];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * @param {string[]} patterns
 * @param {{ quiet: boolean }} how
 * @param {string[]} skipped
 */
async function testPython(patterns, { quiet }, skipped) {
  const files = find(join('trainer', 'tests'), /(^|\/)test_[^/]*\.py$/, patterns);
  if (files.length === 0) return [];
  const args = ['-m', 'pytest', '-ra', '--durations=5', ...files.map((file) => relative('trainer', file))];
  const check = { name: 'Python tests', program: python, args, cwd: join(root, 'trainer') };
  const { outcome, output } = await run(check, { quiet });
  if (quiet) console.log(output);
  skipped.push(...(output.match(/^SKIPPED .*$/gm) ?? []).map((line) => line.replace(/^SKIPPED (\[\d+\] )?/, '')));
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
function run({ name, program, args, cwd = root }, { quiet = false } = {}) {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    let output = '';
    // No test asks a cloud for notices, unless it serves them.
    const env = { ...process.env, AWS_EC2_METADATA_DISABLED: 'true', ...(quiet && { NO_COLOR: '1' }) };
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
 * @param {string[]} skipped
 * @param {string[]} failures Told again at the very end: between there and here are thousands of lines.
 */
function summarise(outcomes, skipped, failures) {
  if (outcomes.length === 0) {
    console.error('No test file matches; expected a part of a path under test/ or trainer/tests/.');
    return 2;
  }
  console.log(`\n${'─'.repeat(60)}`);
  for (const { name, ok, ms } of outcomes)
    console.log(`${ok ? '✓' : '✗'} ${name.padEnd(20)}${seconds(ms).padStart(10)}`);
  if (skipped.length > 0) console.log(`\nSkipped, with reasons:\n${skipped.map((line) => `  ${line}`).join('\n')}`);
  if (failures.length > 0) console.log(`\nFailed tests:\n${failures.map((text) => `✗ ${text}`).join('\n')}`);
  const failed = outcomes.filter(({ ok }) => !ok).map(({ name }) => name);
  console.log(failed.length === 0 ? '\nEverything passed.' : `\nFailed: ${failed.join(', ')}.`);
  return failed.length === 0 ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) process.exitCode = await runTests(process.argv.slice(2));
