/** The demo as a person meets it, each time a process of its own. Slow: it trains for real. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { TRAIN_LOG } from '../../activities/train/tracking.ts';
import { freePort } from '../../cli/ports.ts';
import { findTemporal } from '../../cli/setup/temporal.mjs';
import { stageNames } from '../../contracts/stages.ts';
import { type Ended, reverie, startReverie } from '../fixtures/command.ts';
import { eventually } from '../fixtures/eventually.ts';
import { noneNaming, peakMemoryMb, processesNaming } from '../fixtures/processes.ts';
import { python } from '../fixtures/python.ts';
import { measureRun } from './measure-run.ts';

const { skip } = python;
/** Of the figures that the project promises: this may be a busy machine. */
const NOISE = 2;
const root = join(import.meta.dirname, '..', '..');
const dir = await mkdtemp(join(tmpdir(), 'reverie-demo-'));
after(() => rm(dir, { recursive: true, force: true }));

interface MachineLine {
  report: string;
  runId: string;
  seconds: number;
  accuracy: { base: number; tuned: number; n: number };
  stages: { name: string; cached: boolean; seconds: number }[];
  attempts: number;
  weightsSha256: string;
  identical: boolean | null;
}

function machineLine({ code, stdout, stderr }: Ended): MachineLine {
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^[^\n]+\n$/, 'one line alone');
  const line = JSON.parse(stdout) as MachineLine;
  const fields = ['report', 'runId', 'seconds', 'accuracy', 'stages', 'attempts', 'weightsSha256', 'identical'];
  assert.deepEqual(Object.keys(line), fields);
  assert.deepEqual(Object.keys(line.accuracy), ['base', 'tuned', 'n']);
  assert.deepEqual(
    line.stages.map(({ name }) => name),
    stageNames,
  );
  for (const stage of line.stages) assert.deepEqual(Object.keys(stage), ['name', 'cached', 'seconds']);
  assert.match(line.weightsSha256, /^[0-9a-f]{64}$/);
  assert.ok(existsSync(line.report), line.report);
  return line;
}

/** What the demo left up, from what it printed. */
function kept({ stderr }: Ended) {
  const found = (pattern: RegExp): string => pattern.exec(stderr)?.[1] ?? assert.fail(`no ${pattern} in ${stderr}`);
  return {
    address: found(/^Temporal at (\S+),/m),
    workflowId: found(/^Run (\S+):/m),
    pids: found(/^Stop it with: kill ([\d ]+)$/m)
      .split(' ')
      .map(Number),
    commands: stderr.split('\n').filter((line) => /^ {2}temporal /.test(line)),
  };
}

async function measured(demo: Ended) {
  const { address, workflowId } = kept(demo);
  const connection = await Connection.connect({ address });
  try {
    return await measureRun(new Client({ connection }), workflowId);
  } finally {
    await connection.close();
  }
}

async function stopKept(demo: Ended): Promise<void> {
  for (const pid of kept(demo).pids) process.kill(pid);
  await noneNaming(dir, 60_000);
}

let first: MachineLine;
let killedRun: string;

test('takes embedded inputs to a tuned model and its report, and leaves it up to look at', { skip }, async (t) => {
  const demo = await reverie(['demo', '--json', '--keep', '--dir', dir]);
  first = machineLine(demo);
  const { base, tuned, n } = first.accuracy;
  assert.equal(n, 100);
  assert.ok(tuned - base >= 0.3, `base ${base}, tuned ${tuned}`);
  assert.ok(
    first.stages.every(({ cached }) => !cached),
    JSON.stringify(first.stages),
  );
  assert.equal(first.attempts, 1);
  assert.equal(first.identical, null);
  assert.match(demo.stderr, /train: step \d+\/84 · loss \d/);

  const run = await measured(demo);
  const [cpuWorker] = (await processesNaming(dir)).filter(({ command }) => /main\.ts cpu/.test(command));
  assert.ok(cpuWorker);
  const peak = await peakMemoryMb(cpuWorker.pid);
  t.diagnostic(`demo ${demo.seconds.toFixed(1)} s; run ${run.wallSeconds.toFixed(1)} s`);
  t.diagnostic(`orchestration ${run.overheadSeconds.toFixed(2)} s; history ${run.events} events`);
  t.diagnostic(`CPU worker's peak ${peak.toFixed(0)} MB`);
  assert.ok(run.events <= 150, `${run.events} events`);
  assert.ok(run.overheadSeconds <= 3 * NOISE, `${run.overheadSeconds} s`);
  assert.ok(peak <= 500, `${peak} MB`);

  const temporal = (await findTemporal()) ?? 'temporal';
  const { commands, workflowId } = kept(demo);
  assert.equal(commands.length, 3);
  for (const command of commands) {
    const shell = command.trim().replace(/^temporal/, temporal);
    const { stdout } = await promisify(execFile)('sh', ['-c', shell], { maxBuffer: 64 * 1024 * 1024 });
    assert.match(
      stdout,
      command.includes(' list ') ? new RegExp(workflowId) : /eval tuned|ExecutionCompleted/,
      command,
    );
  }
  await stopKept(demo);
});

test('run again, serves every stage from the store', { skip }, async (t) => {
  const demo = await reverie(['demo', '--json', '--keep', '--dir', dir]);
  const again = machineLine(demo);
  // These three are the run's own: what it resolved, decided and tells of itself.
  const fromStore = again.stages.filter(({ name }) => !['resolve', 'promote', 'report'].includes(name));
  assert.ok(
    fromStore.every(({ cached }) => cached),
    JSON.stringify(again.stages),
  );
  assert.equal(again.attempts, 0);
  assert.equal(again.weightsSha256, first.weightsSha256);
  assert.deepEqual(again.accuracy, first.accuracy);
  const run = await measured(demo);
  t.diagnostic(`demo ${demo.seconds.toFixed(1)} s; run ${run.wallSeconds.toFixed(2)} s, of it resolve and report`);
  assert.ok(run.wallSeconds <= 3 * NOISE, `${run.wallSeconds} s`);
  await stopKept(demo);
});

test('is verified by whoever has its store, to the bit and to its end', { skip }, async (t) => {
  const env = { REVERIE_CACHE_DIR: join(dir, 'verifier') };
  const { code, stdout, stderr, seconds } = await reverie(['verify', first.report, '--json', '--seed', '1'], { env });
  assert.equal(code, 0, stdout + stderr);
  const { replayed, proven } = JSON.parse(stdout);
  const steps = replayed.reduce((sum: number, { from, to }: { from: number; to: number }) => sum + to - from, 0);
  assert.equal(steps, 8);
  assert.ok(replayed.length >= 2 && replayed.every(({ exact }: { exact: boolean }) => exact), stdout);
  assert.match(proven, /8 of 84 steps came out equal to the bit on CPU \(.+\), PyTorch .*, 1 rank, fp32/);
  t.diagnostic(`verified in ${seconds.toFixed(1)} s: ${proven}`);
});

/** The demo's own spec, made short. */
async function shortSpec(): Promise<string> {
  const file = join(dir, 'short.json');
  const spec = {
    model: { source: join(root, 'infra/demo/base') },
    dataset: { source: join(root, 'infra/demo/data/s1k-style.jsonl.gz') },
    filter: { maxTokens: 96 },
    train: {
      globalBatchSize: 8,
      microBatchSize: 4,
      maxSteps: 80,
      checkpointEverySteps: 5,
      activationCheckpointing: false,
    },
    eval: { maxSamples: 4, shardSize: 4, sampler: { maxNewTokens: 16, steps: 4 }, qualitativePrompts: [] },
    policy: { heartbeatTimeoutSeconds: 5 },
  };
  await writeFile(file, JSON.stringify(spec));
  return file;
}

test('killed in mid-training, ends with the weights of an undisturbed training', { skip }, async (t) => {
  const demo = await reverie([
    'demo',
    '--json',
    '--preempt',
    '--dir',
    join(dir, 'preempt'),
    '--spec',
    await shortSpec(),
  ]);
  const line = machineLine(demo);
  assert.match(demo.stderr, /SIGKILL to the trainer's process tree: [1-9]\d* processes gone/);
  assert.equal(line.identical, true);
  assert.equal(line.attempts, 2);
  await noneNaming(dir);
  t.diagnostic(`demo ${demo.seconds.toFixed(1)} s`);
  killedRun = /^Run (\S+):/m.exec(demo.stderr)?.[1] ?? assert.fail(demo.stderr);
});

test('its log and its curve, one over both attempts, are read from the store alone', { skip }, async (t) => {
  const env = { REVERIE_STORE: join(dir, 'preempt', 'preempted', 'store') };
  const { code, stdout, stderr } = await reverie(['logs', killedRun], { env });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/^── attempt .+ ──$/gm)?.length, 2, stdout);
  assert.match(stdout, /from step 0\n(.*\n)*.*from step [1-9]\d*\n(.*\n)*.* step 80\/80 {2}epoch \d+ {2}loss \d/);

  const port = await freePort(0);
  const followed = startReverie(['logs', killedRun, '--follow'], {
    env: { ...env, TEMPORAL_ADDRESS: `127.0.0.1:${port}` },
  });
  t.after(() => followed.signal('SIGKILL'));
  await eventually('all of it', async () => followed.said() === stdout || null, 30_000);
  const files = await readdir(env.REVERIE_STORE, { recursive: true });
  const logs = files.filter((name) => name.endsWith(`/${TRAIN_LOG}`)).sort();
  await appendFile(join(env.REVERIE_STORE, logs.at(-1) ?? ''), 'one more line\n');
  await eventually('what has come since', async () => followed.said() === `${stdout}one more line\n` || null, 30_000);
  assert.match(followed.told(), /^Temporal at .* does not answer .*; Ctrl-C ends this\.\n$/);
  followed.signal('SIGINT');
  assert.equal((await followed.ended).code, 0, followed.told());

  const board = startReverie(['tensorboard', killedRun, '--port', String(port)], { env });
  t.after(() => board.signal('SIGKILL'));
  const curve = `http://127.0.0.1:${port}/data/plugin/scalars/scalars?run=${killedRun}&tag=train%2Floss`;
  const points = await eventually(
    'a curve',
    async () => {
      const answer = await fetch(curve).catch(() => null);
      return answer?.ok ? ((await answer.json()) as [wall: number, step: number, loss: number][]) : null;
    },
    60_000,
  );
  assert.deepEqual(
    points.map(([, step]) => step),
    Array.from({ length: 80 }, (_, index) => index + 1),
  );
  board.signal('SIGINT');
  assert.equal((await board.ended).code, 0, board.told());

  const nobody = await reverie(['logs', 'nobody'], { env });
  assert.match(nobody.stderr, /^Run nobody has trained nothing in the store .*; expected .*; look with/);
});

test('refuses a second demo in one clone; Ctrl-C ends the first and all that it started', { skip }, async (t) => {
  const own = join(dir, 'interrupted');
  const demo = startReverie(['demo', '--json', '--dir', own, '--spec', await shortSpec()], { bootstrap: true });
  t.after(() => demo.signal('SIGKILL'));
  await eventually('training', async () => (/train: step/.test(demo.told()) ? true : null), 120_000);

  const second = await reverie(['demo', '--json', '--dir', join(dir, 'second')], { bootstrap: true });
  assert.equal(second.code, 2);
  assert.match(
    second.stderr,
    new RegExp(`^Another demo is running in this clone: process ${demo.pid}, .*; expected .*\\n$`),
  );
  assert.equal(second.stdout, '');
  assert.ok(second.seconds <= 5 * NOISE, `${second.seconds} s`);

  const pressedMs = performance.now();
  demo.signal('SIGINT');
  demo.signal('SIGINT'); // npm passes the terminal's on once more.
  const { code, stdout } = await demo.ended;
  t.diagnostic(`stopped in ${((performance.now() - pressedMs) / 1000).toFixed(1)} s`);
  assert.equal(code, 130);
  assert.equal(stdout, '');
  await noneNaming(own);
});

test('Ctrl-C while it starts leaves nothing either', { skip, timeout: 60_000 }, async (t) => {
  const own = join(dir, 'starting');
  const demo = startReverie(['demo', '--json', '--dir', own]);
  t.after(() => demo.signal('SIGKILL'));
  await eventually(
    'a worker',
    async () => (await processesNaming(own)).find(({ command }) => /main\.ts/.test(command)) ?? null,
  );
  demo.signal('SIGINT');
  assert.equal((await demo.ended).code, 130);
  await noneNaming(own);
});
