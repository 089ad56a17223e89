/**
 * All that a person does to runs with Temporal's own CLI, as a real process against the dev server and the real workflow;
 * the activities are scripted. Beside it `reverie start` and `reverie schedule`, where they do what the bare CLI cannot.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  backfillSchedule,
  createSchedule,
  deleteSchedule,
  listSchedules,
  pauseSchedule,
  triggerSchedule,
  unpauseSchedule,
  updateSchedule,
} from '../../cli/schedule/schedules.ts';
import { findTemporal } from '../../cli/setup/temporal.mjs';
import type { RunStatus } from '../../contracts/workflow-api.ts';
import { connectWorker } from '../../workers/connect.ts';
import { reverie } from '../fixtures/command.ts';
import { deferred } from '../fixtures/deferred.ts';
import { eventually } from '../fixtures/eventually.ts';
import { failure, type Script, untilCancelled } from '../fixtures/scripted-activities.ts';
import { TemporalHouse } from '../fixtures/temporal-house.ts';

let house: TemporalHouse;
let program: string;
let dir: string;
before(async () => {
  program = (await findTemporal()) ?? 'temporal';
  [house, dir] = await Promise.all([TemporalHouse.open(), mkdtemp(join(tmpdir(), 'reverie-cli-'))]);
});
after(async () => {
  await house.close();
  await rm(dir, { recursive: true });
});

interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

function temporal(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(program, [...args, '--address', house.address], (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr }),
    );
  });
}

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await temporal(...args);
  assert.equal(code, 0, `temporal ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The text with which the CLI refuses. */
async function refused(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await temporal(...args);
  assert.notEqual(code, 0, `temporal ${args.join(' ')}: ${stdout}`);
  return stderr;
}

async function specFile(name: string, content: unknown): Promise<string> {
  const file = join(dir, `${name}.json`);
  await writeFile(file, JSON.stringify(content));
  return file;
}

async function start(id: string, spec: unknown, script: Script = {}): Promise<string> {
  house.activities.add(id, script);
  const file = await specFile(id, spec);
  const said = await ok('workflow', 'start', '--type', 'fineTune', '-t', 'reverie', '-w', id, '--input-file', file);
  return runIdIn(said);
}

const runIdIn = (said: string): string => /RunId\s+(\S+)/.exec(said)?.[1] ?? assert.fail(`no RunId in ${said}`);
const update = (id: string, name: string, input: unknown): string[] => [
  'workflow',
  'update',
  'execute',
  '-w',
  id,
  '--name',
  name,
  '-i',
  JSON.stringify(input),
];
const status = (id: string): Promise<RunStatus> => house.client.workflow.getHandle(id).query<RunStatus>('status');
const until = (id: string, wanted: RunStatus['state']): Promise<true> =>
  eventually(`${id} ${wanted}`, async () => ((await status(id)).state === wanted ? true : null));
const listed = (id: string, query: string): Promise<true> =>
  eventually(`${id} where ${query}`, async () =>
    (await ok('workflow', 'list', '-q', query)).includes(id) ? true : null,
  );
/** Nothing else of the run is at work then. */
const baseEvaluated = (id: string): Promise<true> =>
  eventually(`${id} has evaluated base`, async () => {
    const { stages } = await status(id);
    return stages.find(({ name }) => name === 'eval base')?.state === 'done' ? true : null;
  });
/** Updates that have left a trace in the run's history. */
async function updatesTold(id: string): Promise<number> {
  const { events } = await house.client.workflow.getHandle(id).fetchHistory();
  return (events ?? []).filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes).length;
}
const parksOnce =
  () =>
  ({ call }: { call: number }): void => {
    if (call === 1) throw failure('NoProgress', { step: 20, attempts: 3 });
  };

test('starts from {}, and finds the run by its attributes', async () => {
  await start('cli-empty', {});
  assert.match(await ok('workflow', 'result', '-w', 'cli-empty'), /COMPLETED/);
  assert.match(await ok('workflow', 'show', '-w', 'cli-empty'), /WorkflowExecutionCompleted/);
  await listed('cli-empty', 'ReverieState = "done" AND ReverieModel = "hf://Dream-org/Dream-v0-Base-7B"');
});

test('takes priority and fairness key of the GPU queue from the spec', async () => {
  await start('cli-policy', { policy: { priority: 2, fairnessKey: 'team-a' } });
  await ok('workflow', 'result', '-w', 'cli-policy');
  const asked = (name: 'train' | 'evaluate') =>
    house.activities.calls('cli-policy', name).map(({ priority, fairnessKey }) => [priority, fairnessKey]);
  assert.deepEqual(asked('train'), [[2, 'team-a']]);
  assert.deepEqual(asked('evaluate'), [
    [3, 'team-a'],
    [3, 'team-a'],
  ]);
});

test('fails a bad spec at once and readably, before anything is downloaded', async () => {
  await start('cli-bad', { train: { epochs: 'three', learningRat: 1 } });
  const said = await refused('workflow', 'result', '-w', 'cli-bad');
  const all = `${said}${(await temporal('workflow', 'result', '-w', 'cli-bad')).stdout}`;
  assert.match(all, /train\.epochs is "three"; expected a number/);
  assert.match(all, /did you mean train\.optimizer\.learningRate\?/);
  for (const name of ['downloadDataset', 'downloadModel'] as const)
    assert.equal(house.activities.calls('cli-bad', name).length, 0);
});

test('refuses an update in words and without an event; two resumes at once have one effect', async () => {
  const id = 'cli-parked';
  await start(id, {}, { train: parksOnce() });
  await until(id, 'parked');
  await listed(id, 'ReverieState = "parked"');
  assert.match(
    await ok('workflow', 'query', '-w', id, '--name', 'status'),
    /"parked":\{"advice":"[^"]*`resume` with `\{\}`/,
  );
  await baseEvaluated(id);
  assert.match(
    await refused(...update(id, 'resume', { change: {} })),
    /resume does not know change; expected only "changes"/,
  );
  assert.match(
    await refused(...update(id, 'resume', { changes: { train: { microBatch: 1 } } })),
    /train\.microBatch is not a field.*did you mean train\.microBatchSize\?/s,
  );
  assert.match(
    await refused(...update(id, 'resume', { changes: { eval: { seed: 3 } } })),
    /they would alter eval base, which is finished or at work/,
  );
  assert.equal(await updatesTold(id), 0, 'a refusal leaves no event');

  const both = await Promise.all([
    temporal(...update(id, 'resume', { changes: { train: { microBatchSize: 1 } } })),
    temporal(...update(id, 'resume', {})),
  ]);
  assert.ok(
    both.some(({ code, stdout }) => code === 0 && /The run goes on/.test(stdout)),
    JSON.stringify(both),
  );
  await ok('workflow', 'result', '-w', id);
  const trained = house.activities.calls(id, 'train');
  assert.equal(trained.length, 2);
});

test('refuses a resume that has nothing to do, and tells a second start of one id from the first', async () => {
  const id = 'cli-running';
  const first = await start(id, {}, { train: untilCancelled });
  await eventually('training', async () => (house.activities.calls(id, 'train').length === 1 ? true : null));
  await baseEvaluated(id);
  assert.match(
    await refused(...update(id, 'resume', {})),
    /The run is running, not parked; resume without changes has nothing to do/,
  );
  assert.equal(await updatesTold(id), 0);

  const file = await specFile('other', { train: { epochs: 9 } });
  const again = await ok('workflow', 'start', '--type', 'fineTune', '-t', 'reverie', '-w', id, '--input-file', file);
  assert.equal(runIdIn(again), first, 'the CLI answers with the run that is open');
  const own = await reverie(['start', file, '--id', id], { env: { TEMPORAL_ADDRESS: house.address } });
  assert.equal(own.code, 2);
  assert.match(own.stderr, /^A run cli-running is open; expected an id that is free/);

  assert.match(await ok(...update(id, 'abort', { reason: 'wrong data' })), /is being aborted/);
  assert.match((await temporal('workflow', 'result', '-w', id)).stdout, /Aborted by a person: wrong data/);
  await listed(id, 'ReverieState = "aborted"');
});

test('cancels a run, and resets one to before its validation', async () => {
  await start('cli-cancelled', {}, { train: untilCancelled });
  await eventually('training', async () =>
    house.activities.calls('cli-cancelled', 'train').length === 1 ? true : null,
  );
  await ok('workflow', 'cancel', '-w', 'cli-cancelled');
  await listed('cli-cancelled', 'ExecutionStatus = "Canceled" AND ReverieState = "aborted"');

  const gone = (): never => {
    throw failure('ModelRejected', { problems: ['gone'] }, 'the model was not there');
  };
  await start('cli-reset', {}, { resolve: ({ call }) => (call === 1 ? gone() : undefined) });
  await until('cli-reset', 'failed');
  const { stdout } = await temporal('workflow', 'result', '-w', 'cli-reset');
  assert.match(stdout, /the model was not there/);
  await ok('workflow', 'reset', '-w', 'cli-reset', '--type', 'FirstWorkflowTask', '--reason', 'it is there now');
  assert.match(await ok('workflow', 'result', '-w', 'cli-reset'), /COMPLETED/);
  assert.equal(house.activities.calls('cli-reset', 'resolve').length, 2);
});

test('reset to before a park, takes a resume over with its changes', async () => {
  const id = 'cli-taken-over';
  const script: Script = {
    train: parksOnce(),
    report: ({ call }) => {
      if (call === 1) throw failure('InvalidSpec', { problems: [] }, 'the report failed');
    },
  };
  await start(id, {}, script);
  await until(id, 'parked');
  await ok(...update(id, 'resume', { changes: { train: { microBatchSize: 1 } } }));
  await until(id, 'failed');
  await ok('workflow', 'reset', '-w', id, '--type', 'FirstWorkflowTask', '--reason', 'again');
  assert.match(await ok('workflow', 'result', '-w', id), /COMPLETED/);
  const sizes = house.activities.calls(id, 'train').map(({ input }) => input.spec.train.microBatchSize);
  assert.deepEqual(sizes, [4, 1, 1]);
});

const env = (): Record<string, string> => ({ TEMPORAL_ADDRESS: house.address });

test('a parked night expires and does not swallow the one after it', async () => {
  const open = deferred();
  house.activities.add('nightly', {
    train: ({ call }) => {
      if (call === 1) {
        open.resolve();
        throw failure('NoProgress', { step: 20, attempts: 3 });
      }
    },
  });
  const file = await specFile('nightly', { policy: { parkDeadlineHours: 0.001 } });
  const created = await reverie(
    ['schedule', 'create', 'nightly', file, '--cron', '0 2 * * *', '--time-zone', 'Europe/Berlin'],
    { env: env() },
  );
  assert.equal(created.code, 0, created.stderr);
  assert.match(created.stdout, /next nights \d{4}-\d\d-\d\d 02:00, .* \(Europe\/Berlin\)\nA night that waits/);
  const first = await triggerSchedule(house.client, 'nightly');
  await open.promise;
  assert.match(await triggerSchedule(house.client, 'nightly'), /is open; with overlap BUFFER_ONE this one waits/);
  const nights = 'TemporalScheduledById = "nightly" AND ReverieState';
  await listed(/Started (\S+)/.exec(first)?.[1] ?? 'none', `${nights} = "expired"`);
  await listed('nightly-', `${nights} = "done"`);

  assert.match(await listSchedules(house.client, false), /^nightly {2}0 2 \* \* \* Europe\/Berlin {2}next /m);
  assert.match(await updateSchedule(house.client, 'nightly', { file: null, timeZone: 'UTC' }), /02:00.*\(UTC\)/);
  const { policies, spec } = await house.client.schedule.getHandle('nightly').describe();
  assert.deepEqual([policies.overlap, policies.catchupWindow, spec.timezone], ['BUFFER_ONE', 6 * 3600_000, 'UTC']);
  await pauseSchedule(house.client, 'nightly', 'holidays');
  assert.equal((await house.client.schedule.getHandle('nightly').describe()).state.note, 'holidays');
  await unpauseSchedule(house.client, 'nightly');
  const [from, to] = ['2026-11-01T00:00:00Z', '2026-11-02T12:00:00Z'];
  await backfillSchedule(house.client, 'nightly', from, to);
  await listed('nightly-2026-11-02', `${nights} = "done"`);
  await deleteSchedule(house.client, 'nightly');
  await assert.rejects(pauseSchedule(house.client, 'nightly', 'again'), /^.*There is no schedule nightly in namespace/);
});

test('the bare CLI schedules nights too', async () => {
  house.activities.add('bare', {});
  const file = await specFile('bare', { policy: { parkDeadlineHours: 12 } });
  const flags = [
    '--cron',
    '0 2 * * *',
    '--time-zone',
    'UTC',
    '--overlap-policy',
    'BufferOne',
    '--catchup-window',
    '6h',
  ];
  const run = ['-w', 'bare', '-t', 'reverie', '--type', 'fineTune', '--input-file', file];
  await ok('schedule', 'create', '-s', 'bare', ...flags, ...run);
  await ok('schedule', 'trigger', '-s', 'bare', '--overlap-policy', 'BufferOne');
  await listed('bare-', 'TemporalScheduledById = "bare" AND ReverieState = "done"');
  await ok('schedule', 'delete', '-s', 'bare');
});

test('refuses a schedule that could never run, in words', async () => {
  const timing = { cron: '0 2 * * *', timeZone: 'UTC', overlap: 'buffer-one', catchUp: '6h', jitter: '0s' } as const;
  const create = (changes: Partial<Record<keyof typeof timing, string>> & { file?: string }) =>
    createSchedule(house.client, 'refused', { ...timing, file: null, paused: false, ...(changes as object) });
  const cases: [Parameters<typeof create>[0], RegExp][] = [
    [
      { cron: '61 2 * * *' },
      /^Cron "61 2 \* \* \*" .* is refused by the server \(Minute is not in range.*; expected .*; correct/,
    ],
    [{ cron: '0 2 30 2 *' }, /^Cron "0 2 30 2 \*" .* names no time that ever comes; expected .*; correct/],
    [{ timeZone: 'Europe/Berln' }, /^Time zone Europe\/Berln is unknown; expected .*; did you mean Europe\/Berlin\?/],
    [{ jitter: '5' }, /^--jitter is "5"; expected .*; correct it/],
    [{ file: join(dir, 'none.json') }, /^Run spec .*none\.json cannot be read \(ENOENT\); expected .*; name one/],
  ];
  for (const [changes, says] of cases) {
    await assert.rejects(create(changes), (error: Error) => {
      assert.match(error.message, says);
      return true;
    });
  }
  const left: string[] = [];
  for await (const { scheduleId } of house.client.schedule.list()) left.push(scheduleId);
  assert.deepEqual(
    left.filter((id) => id === 'refused'),
    [],
  );
});

test('a namespace that is not there, or lacks the search attributes, is told before any task is taken', async () => {
  const nowhere = { ...env(), TEMPORAL_NAMESPACE: 'nowhere' };
  const start = await reverie(['start'], { env: nowhere });
  assert.equal(start.code, 2, start.stderr);
  assert.match(start.stderr, /has no namespace nowhere; expected .*temporal operator namespace create -n nowhere/);
  process.env.TEMPORAL_ADDRESS = house.address;
  process.env.TEMPORAL_NAMESPACE = 'nowhere';
  await assert.rejects(connectWorker(), /has no namespace nowhere; expected/);
  delete process.env.TEMPORAL_NAMESPACE;
  await ok('operator', 'namespace', 'create', '-n', 'bare');
  const store = join(dir, 'store');
  const { code, stderr } = await reverie(['worker', 'cpu'], {
    env: { ...env(), TEMPORAL_NAMESPACE: 'bare', REVERIE_STORE: store, REVERIE_CACHE_DIR: join(dir, 'cache') },
  });
  assert.notEqual(code, 0);
  assert.match(
    stderr,
    /Namespace bare has no search attribute .*temporal operator search-attribute create --namespace bare .*reverie doctor --fix/,
  );
});
