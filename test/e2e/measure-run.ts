/** What a closed run took, from its history: wall time, events, and what was not the stages' own work. */
import type { Client } from '@temporalio/client';
import type { google } from '@temporalio/proto';
import type { RunResult } from '../../contracts/workflow-api.ts';

type Timestamp = google.protobuf.ITimestamp;

export interface Measured {
  wallSeconds: number;
  events: number;
  /** Wall time less the stages' own work along the critical path, with one GPU worker. */
  overheadSeconds: number;
}

export async function measureRun(client: Client, workflowId: string): Promise<Measured> {
  const handle = client.workflow.getHandle(workflowId);
  const [{ startTime, closeTime, historyLength }, result, history] = await Promise.all([
    handle.describe(),
    handle.result() as Promise<RunResult>,
    handle.fetchHistory(),
  ]);
  const wallSeconds = ((closeTime?.getTime() ?? Number.NaN) - startTime.getTime()) / 1000;
  const own = (name: string): number => result.stages.find((stage) => stage.name === name)?.seconds ?? Number.NaN;

  // Resolve has no artifact and reports no time: the first activity, from its start to its end.
  const events = history.events ?? [];
  const [started] = events.filter(({ activityTaskStartedEventAttributes: is }) => is);
  const [completed] = events.filter(({ activityTaskCompletedEventAttributes: is }) => is);
  const resolve = seconds(completed?.eventTime) - seconds(started?.eventTime);

  const work =
    resolve +
    Math.max(own('download dataset'), own('download model')) +
    ['convert', 'filter', 'train', 'eval base', 'eval tuned', 'report'].reduce((sum, name) => sum + own(name), 0);
  return { wallSeconds, events: historyLength, overheadSeconds: wallSeconds - work };
}

function seconds(time: Timestamp | null | undefined): number {
  return (time?.seconds?.toNumber() ?? Number.NaN) + (time?.nanos ?? 0) / 1e9;
}
