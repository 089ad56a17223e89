/** When nights begin, and what is refused of it: cron and time zone as the server reads them, durations, overlap. */
import { randomUUID } from 'node:crypto';
import type { Client, ScheduleOverlapPolicy, ScheduleSpec } from '@temporalio/client';
import { distance } from 'fastest-levenshtein';
import { rejected } from '../../contracts/failures.ts';
import { TASK_QUEUE, WORKFLOW_TYPE } from '../../contracts/workflow-api.ts';

/**
 * What becomes of a night whose time comes while an earlier one is open. `buffer-one` is the default: a night that trains
 * for longer, or waits for a person, delays the next one and loses none of its data, since each run resolves the newest
 * revision when it starts; and two runs never train the same thing at once. `skip` would drop the night altogether.
 */
export const overlapPolicies = {
  skip: 'SKIP',
  'buffer-one': 'BUFFER_ONE',
  'buffer-all': 'BUFFER_ALL',
  'cancel-other': 'CANCEL_OTHER',
  'allow-all': 'ALLOW_ALL',
} as const satisfies Record<string, ScheduleOverlapPolicy>;
export type Overlap = keyof typeof overlapPolicies;

const unitMs = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 } as const;

/** `90s`, `5m`, `6h` or `1d`, in milliseconds; throws InvalidSpec for anything else. */
export function durationMs(option: string, text: string): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (count === undefined) {
    throw rejected(
      'InvalidSpec',
      `${option} is ${JSON.stringify(text)}; expected a whole number and a unit, such as 90s, 5m, 6h or 1d; correct it.`,
    );
  }
  return Number(count) * unitMs[unit as keyof typeof unitMs];
}

/** Its text goes with it as a comment, which the server keeps where it keeps no cron. */
export const cronSpec = (cron: string): string => (cron.includes('#') ? cron : `${cron} # ${cron}`);

/** Throws InvalidSpec for a zone that is not in the IANA database, with the nearest one that is. */
export function checkTimeZone(zone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    const near = Intl.supportedValuesOf('timeZone')
      .map((name) => ({ name, cost: distance(name.toLowerCase(), zone.toLowerCase()) }))
      .sort((a, b) => a.cost - b.cost)[0];
    const advice = near && near.cost <= 4 ? `did you mean ${near.name}?` : 'correct --time-zone.';
    throw rejected(
      'InvalidSpec',
      `Time zone ${zone} is unknown; expected a name of the IANA database, such as UTC or Europe/Berlin; ${advice}`,
    );
  }
}

/**
 * The next times at which the server would start a night, from a paused schedule that lasts for this question alone: no
 * other reading of a cron expression can be in step with the server's. Throws InvalidSpec where there is none.
 */
export async function nextTimes(client: Client, spec: ScheduleSpec, said: string): Promise<Date[]> {
  const expected = 'expected minute, hour, day of month, month and weekday, such as "0 2 * * *"; correct --cron.';
  const handle = await client.schedule
    .create({
      scheduleId: `reverie-check-${randomUUID()}`,
      spec: { ...spec, jitter: 0 },
      state: { paused: true, note: 'Asks the server when this would run; deleted at once.' },
      action: { type: 'startWorkflow', workflowType: WORKFLOW_TYPE, taskQueue: TASK_QUEUE, args: [{}] },
    })
    .catch((error: unknown) => {
      // What the SDK makes of INVALID_ARGUMENT.
      if (!(error instanceof TypeError)) throw error;
      throw rejected('InvalidSpec', `${said} is refused by the server (${error.message}); ${expected}`);
    });
  try {
    const { nextActionTimes } = (await handle.describe()).info;
    if (nextActionTimes.length > 0) return nextActionTimes;
    throw rejected('InvalidSpec', `${said} names no time that ever comes; ${expected}`);
  } finally {
    await handle.delete();
  }
}

/** Null where only one is to come. */
export function shortestGapMs(times: readonly Date[]): number | null {
  const gaps = times.slice(1).map((time, index) => time.getTime() - (times[index]?.getTime() ?? 0));
  return gaps.length === 0 ? null : Math.min(...gaps);
}
