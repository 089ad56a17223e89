/** Schedules of runs, over Temporal's own: what each verb does, in words for the terminal. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  type ScheduleHandle,
  ScheduleNotFoundError,
  type ScheduleSpec,
  type ScheduleSummary,
} from '@temporalio/client';
import { rejected } from '../../contracts/failures.ts';
import { TASK_QUEUE, WORKFLOW_TYPE } from '../../contracts/workflow-api.ts';
import { readSpecFile } from '../spec-file.ts';
import { presentation } from '../start.ts';
import { aboutParking, withParkDeadline } from './nights.ts';
import {
  checkTimeZone,
  cronSpec,
  durationMs,
  nextTimes,
  type Overlap,
  overlapPolicies,
  shortestGapMs,
} from './timing.ts';

export interface Timing {
  cron: string;
  timeZone: string;
  overlap: Overlap;
  catchUp: string;
  jitter: string;
}

/** How long the server may take to start a night that was triggered. */
const TRIGGER_MS = 5000;

export async function createSchedule(
  client: Client,
  id: string,
  { file, paused, ...timing }: Timing & { file: string | null; paused: boolean },
): Promise<string> {
  const spec = await readSpecFile(file);
  const times = timesOf(timing);
  const policies = policiesOf(timing);
  const next = await nextTimes(client, times, saidOf(timing));
  const gapMs = shortestGapMs(next);
  const night = withParkDeadline(spec, gapMs);
  await client.schedule
    .create({
      scheduleId: id,
      spec: times,
      policies,
      action: actionOf(id, night),
      state: { paused, note: paused ? 'Created paused' : 'Created by reverie' },
    })
    .catch((error: unknown) => {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      throw rejected(
        'InvalidSpec',
        `A schedule ${id} is there already; expected an id that is free; change it with \`reverie schedule update ${id}\`, or give another id.`,
      );
    });
  return `Schedule ${id}: ${told(next, timing.timeZone)}\n${aboutParking(night, gapMs)}\n`;
}

/** Only what is given changes; `temporal schedule update` replaces the whole. */
export async function updateSchedule(
  client: Client,
  id: string,
  { file, ...changes }: Partial<Timing> & { file: string | null },
): Promise<string> {
  const handle = client.schedule.getHandle(id);
  const before = await describe(client, handle);
  const spec = file === null ? null : await readSpecFile(file);
  const timing = { cron: cronOf(before.spec), timeZone: before.spec.timezone ?? 'UTC', ...changes };
  if (changes.timeZone !== undefined) checkTimeZone(changes.timeZone);
  const { jitter = before.spec.jitter, ...rest } = before.spec;
  const times: ScheduleSpec = {
    ...rest,
    ...(changes.cron !== undefined && { calendars: [], intervals: [], cronExpressions: [cronSpec(changes.cron)] }),
    timezone: timing.timeZone,
    jitter: changes.jitter === undefined ? (jitter ?? 0) : durationMs('--jitter', changes.jitter),
  };
  const { overlap, catchupWindow } = before.policies;
  const policies = {
    ...before.policies,
    overlap: changes.overlap ? overlapPolicies[changes.overlap] : overlap,
    catchupWindow: changes.catchUp === undefined ? catchupWindow : durationMs('--catch-up', changes.catchUp),
  };
  const next = await nextTimes(client, times, saidOf(timing));
  const gapMs = shortestGapMs(next);
  const changed = spec && withParkDeadline(spec, gapMs);
  await handle.update(({ action, state }) => ({
    spec: times,
    policies,
    action: changed === null ? { ...action, args: action.args ?? [] } : actionOf(id, changed),
    state,
  }));
  return `Schedule ${id}: ${told(next, timing.timeZone)}\n${aboutParking(changed ?? before.action.args?.[0] ?? {}, gapMs)}\n`;
}

export async function listSchedules(client: Client, json: boolean): Promise<string> {
  const found: ScheduleSummary[] = [];
  for await (const each of client.schedule.list()) if (each.action?.workflowType === WORKFLOW_TYPE) found.push(each);
  const lines = found.map(({ scheduleId, spec, state, info }) => {
    const last = info.recentActions.at(-1)?.action.workflow.workflowId ?? null;
    const zone = spec?.timezone ?? 'UTC';
    const next = info.nextActionTimes[0]?.toISOString() ?? null;
    return { id: scheduleId, cron: spec ? cronOf(spec) : '', timeZone: zone, paused: state.paused, next, last };
  });
  if (json) return `${JSON.stringify(lines)}\n`;
  if (lines.length === 0) return 'No schedule of runs; create one with `reverie schedule create`.\n';
  return lines
    .map(({ id, cron, timeZone, paused, next, last }) => {
      const when = paused ? 'paused' : `next ${next ?? 'never'}`;
      return `${id}  ${cron || '(not by cron)'} ${timeZone}  ${when}  last run ${last ?? 'none'}\n`;
    })
    .join('');
}

export async function pauseSchedule(client: Client, id: string, reason: string): Promise<string> {
  await known(client, id, (handle) => handle.pause(reason));
  return `Schedule ${id} is paused; a run that is open goes on.\n`;
}

export async function unpauseSchedule(client: Client, id: string): Promise<string> {
  await known(client, id, (handle) => handle.unpause('Unpaused by reverie'));
  return `Schedule ${id} goes on.\n`;
}

/** At once, under the schedule's own overlap policy; the SDK's default would let two nights run side by side. */
export async function triggerSchedule(client: Client, id: string): Promise<string> {
  const handle = client.schedule.getHandle(id);
  const { policies, info } = await describe(client, handle);
  await handle.trigger(policies.overlap);
  const [open] = info.runningActions;
  const giveUpMs = performance.now() + TRIGGER_MS;
  while (performance.now() < giveUpMs) {
    const now = await handle.describe();
    const started = now.info.recentActions.at(-1)?.action.workflow.workflowId;
    if (now.info.numActionsTaken > info.numActionsTaken && started !== undefined) return `Started ${started}\n`;
    if (open && now.info.runningActions.length > 0) break;
    await sleep(100);
  }
  return open
    ? `The night ${open.workflow.workflowId} is open; with overlap ${policies.overlap} this one ${policies.overlap === 'SKIP' ? 'is skipped' : 'waits for its end'}.\n`
    : `Triggered; look for its run with \`temporal schedule describe -s ${id}\`.\n`;
}

/** The nights between two times, one after the other. */
export async function backfillSchedule(client: Client, id: string, from: string, to: string): Promise<string> {
  const [start, end] = [instant('--from', from), instant('--to', to)];
  if (start >= end) {
    throw rejected(
      'InvalidSpec',
      `--from ${from} is not before --to ${to}; expected a span of time; exchange them, or widen it.`,
    );
  }
  await known(client, id, (handle) => handle.backfill({ start, end, overlap: 'BUFFER_ALL' }));
  return `The nights of ${id} from ${start.toISOString()} to ${end.toISOString()} run one after the other.\n`;
}

export async function deleteSchedule(client: Client, id: string): Promise<string> {
  await known(client, id, (handle) => handle.delete());
  return `Schedule ${id} is deleted; runs that it started stay.\n`;
}

const actionOf = (id: string, spec: Awaited<ReturnType<typeof readSpecFile>>) =>
  ({
    type: 'startWorkflow',
    workflowType: WORKFLOW_TYPE,
    taskQueue: TASK_QUEUE,
    workflowId: id,
    args: [spec],
    ...presentation(spec),
  }) as const;

function timesOf({ cron, timeZone, jitter }: Timing): ScheduleSpec {
  checkTimeZone(timeZone);
  return { cronExpressions: [cronSpec(cron)], timezone: timeZone, jitter: durationMs('--jitter', jitter) };
}

const policiesOf = ({ overlap, catchUp }: Timing) => ({
  overlap: overlapPolicies[overlap],
  catchupWindow: durationMs('--catch-up', catchUp),
  // A night that failed says nothing about the next one, whose data are others.
  pauseOnFailure: false,
});

const saidOf = ({ cron, timeZone }: Pick<Timing, 'cron' | 'timeZone'>): string =>
  `Cron ${JSON.stringify(cron)} in time zone ${timeZone}`;

const cronOf = (spec: ScheduleDescription['spec']): string =>
  (spec.calendars ?? []).map(({ comment }) => comment ?? '').join(', ');

function told(times: readonly Date[], zone: string): string {
  const shown = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' });
  return `next nights ${times
    .slice(0, 3)
    .map((time) => shown.format(time))
    .join(', ')} (${zone})`;
}

function instant(option: string, text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw rejected(
      'InvalidSpec',
      `${option} is ${JSON.stringify(text)}; expected a time in ISO 8601, such as 2026-11-01T00:00:00Z; correct it.`,
    );
  }
  return time;
}

const describe = (client: Client, handle: ScheduleHandle): Promise<ScheduleDescription> =>
  known(client, handle.scheduleId, () => handle.describe());

/** Throws InvalidSpec, in words, where there is no such schedule. */
async function known<T>(client: Client, id: string, ask: (handle: ScheduleHandle) => Promise<T>): Promise<T> {
  try {
    return await ask(client.schedule.getHandle(id));
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    throw rejected(
      'InvalidSpec',
      `There is no schedule ${id} in namespace ${client.options.namespace}; expected the id of one; list them with \`reverie schedule list\`.`,
    );
  }
}
