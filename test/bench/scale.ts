/**
 * Many small runs at once on one server, with the real workers and the real trainer:
 *
 *     npm run bench -- --runs 100 --cpu-workers 2 --gpu-workers 2 --json scale.json
 *
 * Exits with 1 where a figure that the project promises is missed.
 */
import { readdir, writeFile } from 'node:fs/promises';
import { constants, cpus, setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { WorkflowHandle } from '@temporalio/client';
import { worker } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import { smallSpec } from '../crash/trainings.ts';
import { startTestStack, type TestStack } from '../e2e/stack.ts';
import { peakMemoryMb } from '../fixtures/processes.ts';

type HistoryEvent = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];

const STEPS = 2;
const PRIORITIES = 5;
/** One run in four is of a small team, the others of a large one. */
const TEAM_OF = 4;
const START_MS = 120_000;
const QUERY_EVERY_MS = 200;
/** Open runs from which on the answers to `status` count. */
const BUSY = 50;
/** A task is handed out by what waits a moment before. */
const HANDING_OUT_SECONDS = 2;

const limits = { workflowTaskSeconds: 1, cpuWorkerMb: 600, statusP95Ms: 50, history: 150, unevenStarts: 2 };

/** What the GPU queue hands out: a training, or an evaluation, which has the next lower priority. */
interface GpuTask {
  activity: string;
  priority: number;
  fairnessKey: string;
  /** Unix time in seconds, as `started`. */
  scheduled: number;
  started: number;
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100' },
    'cpu-workers': { type: 'string', default: '2' },
    'gpu-workers': { type: 'string', default: '2' },
    json: { type: 'string' },
  },
});
const [runs, cpuWorkers, gpuWorkers] = [values.runs, values['cpu-workers'], values['gpu-workers']].map(Number) as [
  number,
  number,
  number,
];

const stack = await startTestStack();
try {
  const figures = await measure(stack);
  const misses = missesOf(figures);
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
  for (const miss of misses) process.stdout.write(`✗ ${miss}\n`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, null, 2)}\n`);
  process.exitCode = misses.length === 0 ? 0 : 1;
} finally {
  await stack.stop();
}

async function measure({ client, env, dir, storeDir, cpu, gpu }: TestStack) {
  const more = (kind: 'cpu' | 'gpu', count: number) =>
    Array.from({ length: count - 1 }, () => worker({ kind, env, logs: dir, graceSeconds: 20 }));
  const [cpuMore, gpuMore] = [more('cpu', cpuWorkers), more('gpu', gpuWorkers)];
  try {
    await Promise.all([...cpuMore, ...gpuMore].map((child) => child.ready(START_MS)));
    // They stand for hosts of their own: their trainers get what server and CPU workers leave of this one.
    for (const { pid } of [gpu, ...gpuMore]) setPriority(pid ?? 0, constants.priority.PRIORITY_LOW);
    const startedMs = performance.now();
    const handles = await Promise.all(
      Array.from({ length: runs }, (_, index) =>
        startRun({ client, workflowId: `run-${String(index).padStart(3, '0')}`, spec: specOf(index) }),
      ),
    );
    const over = new Set<WorkflowHandle>();
    const results = handles.map((handle) => handle.result().finally(() => over.add(handle)));
    const answers: Answer[] = [];
    while (runs - over.size >= BUSY) {
      const run = handles[Math.floor(Math.random() * runs)] as WorkflowHandle;
      const [at, beganMs] = [Date.now() / 1000, performance.now()];
      await run.query('status');
      answers.push({ at, ms: performance.now() - beganMs, over: over.has(run) });
      await sleep(QUERY_EVERY_MS);
    }
    const ended = await Promise.allSettled(results);
    const seconds = (performance.now() - startedMs) / 1000;

    const histories = await Promise.all(handles.map(async (handle) => (await handle.fetchHistory()).events ?? []));
    const tasks = histories.flatMap(gpuTasksOf);
    const attempts = (await readdir(join(storeDir, 'attempts'), { recursive: true })).filter((name) =>
      name.endsWith('.json'),
    );
    // From then on the runs train, wait for it, or are over; before, their data is read on the same cores.
    const begun = Math.max(...tasks.filter(({ activity }) => activity === 'train').map(({ scheduled }) => scheduled));
    const later = answers.filter(({ at }) => at >= begun);
    const peaks = await Promise.all([cpu, ...cpuMore].map(({ pid }) => peakMemoryMb(pid ?? 0)));
    return {
      machine: { cores: cpus().length, model: cpus()[0]?.model ?? 'unknown', node: process.version },
      ...{ runs, cpuWorkers, gpuWorkers, seconds },
      done: ended.filter(({ status }) => status === 'fulfilled').length,
      trainedTwice: attempts.length - new Set(attempts.map((name) => name.split('/')[0])).size,
      longestWorkflowTaskSeconds: Math.max(...histories.flatMap(workflowTasks)),
      mostEvents: Math.max(...histories.map((events) => events.length)),
      cpuWorkerPeakMb: peaks.map(Math.round),
      secondsUntilAllWait: begun - Math.min(...histories.map((events) => secondsOf(events[0]))),
      statusWhileTheyBegin: times(answers.filter(({ at }) => at < begun)),
      status: times(later.filter(({ over }) => !over)),
      statusOfRunsThatAreOver: times(later.filter(({ over }) => over)),
      startedBeforeMoreUrgent: outOfOrder(tasks),
      fairness: shares(tasks),
    };
  } finally {
    await Promise.all([...cpuMore, ...gpuMore].map((child) => child.stop()));
  }
}

interface Answer {
  /** Unix time in seconds. */
  at: number;
  ms: number;
  /** No worker keeps a run that is over: each answer for it replays its whole history. */
  over: boolean;
}

function times(answers: readonly Answer[]) {
  const all = answers.map(({ ms }) => ms);
  return { asked: all.length, medianMs: quantile(all, 0.5), p95Ms: quantile(all, 0.95) };
}

/** Each a training of its own. */
function specOf(index: number): RunSpecInput {
  const spec = smallSpec(STEPS, 30);
  const team = index % TEAM_OF === 0 ? 'small' : 'large';
  return {
    ...spec,
    train: { ...spec.train, seed: index, trackers: [] },
    policy: { ...spec.policy, priority: (index % PRIORITIES) + 1, fairnessKey: team },
  };
}

function gpuTasksOf(events: HistoryEvent[]): GpuTask[] {
  return events.flatMap((event) => {
    const { activityType, priority } = event.activityTaskScheduledEventAttributes ?? {};
    const activity = activityType?.name;
    if (activity !== 'train' && activity !== 'evaluate') return [];
    const started = events.find(
      ({ activityTaskStartedEventAttributes: is }) => is && String(is.scheduledEventId) === String(event.eventId),
    );
    const sent = { priority: priority?.priorityKey ?? 0, fairnessKey: priority?.fairnessKey ?? '' };
    return [{ activity, ...sent, scheduled: secondsOf(event), started: secondsOf(started) }];
  });
}

function workflowTasks(events: HistoryEvent[]): number[] {
  const byId = new Map(events.map((event) => [String(event.eventId), event]));
  return events.flatMap((event) => {
    const started = event.workflowTaskCompletedEventAttributes?.startedEventId;
    return started == null ? [] : [secondsOf(event) - secondsOf(byId.get(String(started)))];
  });
}

/** Tasks that started while a more urgent one had been waiting. */
function outOfOrder(tasks: GpuTask[]): number {
  return tasks.filter((one) =>
    tasks.some(
      (other) =>
        other.priority < one.priority &&
        other.scheduled < one.started - HANDING_OUT_SECONDS &&
        other.started > one.started,
    ),
  ).length;
}

/**
 * Of each priority, how many tasks of each team started while both teams had some waiting: even means fair. Counted over
 * trainings and evaluations alike, since the server shares out a priority and knows no difference between them.
 */
function shares(tasks: GpuTask[]) {
  return Array.from({ length: PRIORITIES }, (_, index) => {
    const queue = tasks.filter(({ priority }) => priority === index + 1);
    const contested = queue.filter(({ started }) =>
      ['small', 'large'].every((team) =>
        queue.some((other) => other.fairnessKey === team && other.scheduled < started && other.started >= started),
      ),
    );
    const count = (of: string): number => contested.filter(({ fairnessKey }) => fairnessKey === of).length;
    return { priority: index + 1, small: count('small'), large: count('large') };
  });
}

type Figures = Awaited<ReturnType<typeof measure>>;

function missesOf(figures: Figures) {
  const { done, trainedTwice, longestWorkflowTaskSeconds, mostEvents, cpuWorkerPeakMb, status } = figures;
  const { startedBeforeMoreUrgent, fairness } = figures;
  const peak = Math.max(...cpuWorkerPeakMb);
  const checks: [boolean, string][] = [
    [done === runs, `${done} of ${runs} runs are done`],
    [trainedTwice === 0, `${trainedTwice} attempts beside the first`],
    [
      longestWorkflowTaskSeconds <= limits.workflowTaskSeconds,
      `a workflow task took ${longestWorkflowTaskSeconds.toFixed(2)} s; at most ${limits.workflowTaskSeconds}`,
    ],
    [mostEvents <= limits.history, `a history of ${mostEvents} events; at most ${limits.history}`],
    [peak <= limits.cpuWorkerMb, `a CPU worker took ${peak} MB; at most ${limits.cpuWorkerMb}`],
    [
      runs < BUSY || status.p95Ms <= limits.statusP95Ms,
      `status took ${status.p95Ms.toFixed(0)} ms at the 95th percentile; at most ${limits.statusP95Ms}`,
    ],
    [startedBeforeMoreUrgent === 0, `${startedBeforeMoreUrgent} tasks started before a more urgent one; expected none`],
    ...fairness.map(({ priority, small, large }): [boolean, string] => [
      Math.abs(small - large) <= limits.unevenStarts,
      `of priority ${priority}, ${small} tasks of one team and ${large} of the other started while both waited; expected as many of each, but for ${limits.unevenStarts}`,
    ]),
  ];
  return checks.filter(([met]) => !met).map(([, said]) => said);
}

function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

function secondsOf(event: HistoryEvent | undefined): number {
  return Number(event?.eventTime?.seconds ?? Number.NaN) + (event?.eventTime?.nanos ?? 0) / 1e9;
}
