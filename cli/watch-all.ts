/** `reverie watch` without a run: every open run, a line each on a terminal; in a pipe, what is new of each. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { createLogUpdate } from 'log-update';
import { WORKFLOW_TYPE } from '../contracts/workflow-api.ts';
import { LOOK_MS, lookOnce } from './follow.ts';
import type { Observation } from './observe.ts';
import { liveFigures, PlainLines } from './render-run.ts';

export interface WatchAllOptions {
  client: Client;
  out: NodeJS.WriteStream;
  json: boolean;
  signal: AbortSignal;
}

const OPEN = `WorkflowType = '${WORKFLOW_TYPE}' AND ExecutionStatus = 'Running'`;
/** Each run costs two calls a look. */
const MORE_MS_A_RUN = 300;

/** Until the signal is aborted. */
export async function watchAll({ client, out, json, signal }: WatchAllOptions): Promise<void> {
  const live = out.isTTY && !json ? createLogUpdate(out) : null;
  const plain = new Map<string, PlainLines>();
  const told = new Map<string, string>();
  const tell = (run: string, line: string): void => {
    if (told.get(run) !== line) out.write(`${line}\n`);
    told.set(run, line);
  };
  while (!signal.aborted) {
    const open = await openRuns(client);
    // Those that have closed since are told once more.
    const runs = new Set([...(open ?? []), ...(live ? [] : told.keys())]);
    const seen = await Promise.all([...runs].map(async (run) => [run, await lookOnce(client, run)] as const));
    if (live) live(open === null ? 'The server does not answer. Waiting.' : table(seen));
    for (const [run, at] of live ? [] : seen) {
      const execution = typeof at === 'string' ? at : at.execution;
      if (json)
        tell(run, JSON.stringify({ run, execution, ...(typeof at === 'object' && { ...at.status, live: at.live }) }));
      else {
        const lines = plain.get(run) ?? new PlainLines();
        plain.set(run, lines);
        if (typeof at === 'object') for (const line of lines.news(at)) out.write(`${run} ${line}\n`);
        tell(run, `${run} is ${execution}`);
      }
      if (execution !== 'running' && execution !== 'silent') told.delete(run);
    }
    await sleep(LOOK_MS + MORE_MS_A_RUN * runs.size, null, { signal }).catch(() => {});
  }
  live?.done();
}

async function openRuns(client: Client): Promise<string[] | null> {
  try {
    const runs: string[] = [];
    for await (const { workflowId } of client.workflow.list({ query: OPEN })) runs.push(workflowId);
    return runs.sort();
  } catch {
    return null;
  }
}

export function table(seen: readonly (readonly [string, Observation | string])[]): string {
  if (seen.length === 0) return 'No run is open.';
  const width = Math.max(...seen.map(([run]) => run.length));
  return seen.map(([run, at]) => `${run.padEnd(width)}  ${typeof at === 'string' ? at : oneLine(at)}`).join('\n');
}

function oneLine({ status, live }: Observation): string {
  const { state, stage, parked, incidents } = status;
  const figures = live.find((each) => each.stage === stage) ?? live[0];
  const said = [state.padEnd(8), stage ?? ''];
  if (parked) said.push(parked.reason.split('\n')[0] ?? '');
  else if (figures) said.push(liveFigures(figures));
  if (incidents.length > 0) said.push(`${incidents.length} incident${incidents.length === 1 ? '' : 's'}`);
  return said.filter(Boolean).join(' · ');
}
