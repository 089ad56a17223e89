/** Shows a run live until it closes: redrawn on a terminal, as plain lines in a pipe, or as JSON lines. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { createLogUpdate } from 'log-update';
import { look, type Observation } from './observe.ts';
import { PlainLines, renderRun } from './render-run.ts';

export interface FollowOptions {
  client: Client;
  workflowId: string;
  out: NodeJS.WriteStream;
  signal?: AbortSignal;
  /** A line of JSON for each look that differs from the last one. */
  json?: boolean;
  everyMs?: number;
  onLook?: (seen: Observation) => void;
}

/** Once a second costs a hundredth of a core. */
export const LOOK_MS = 1000;
/** A server that is restarted is silent for longer than one look. */
const ANSWER_MS = 5000;
const WAITS = 'Nobody answers for it: the server or every CPU worker is away. Waiting.';

/** Resolves with the run's end (completed, failed, …), or null when the signal was aborted before. */
export async function follow(options: FollowOptions): Promise<{ execution: string } | null> {
  const { client, workflowId, signal, everyMs = LOOK_MS, onLook } = options;
  const show = presenter(options);
  try {
    while (!signal?.aborted) {
      const seen = await lookOnce(client, workflowId);
      if (typeof seen === 'object') onLook?.(seen);
      show.next(seen);
      const execution = typeof seen === 'object' ? seen.execution : seen;
      if (execution !== 'silent' && execution !== 'running') return { execution };
      await sleep(everyMs, null, { signal }).catch(() => {});
    }
    return null;
  } finally {
    show.done();
  }
}

/**
 * `silent` where the server or every worker is away: that is waited for. A closed run that no worker answers for is told
 * by its end alone.
 */
export async function lookOnce(client: Client, workflowId: string): Promise<Observation | string> {
  const within = <T>(call: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + ANSWER_MS, call);
  try {
    return await within(() => look(client, workflowId));
  } catch {
    const found = await within(() => client.workflow.getHandle(workflowId).describe()).catch(() => null);
    const execution = found?.status.name.toLowerCase() ?? 'running';
    return execution === 'running' ? 'silent' : execution;
  }
}

function presenter({ out, json = false, workflowId }: FollowOptions) {
  let told = '';
  const say = (line: string): void => {
    if (line !== told) out.write(`${line}\n`);
    told = line;
  };
  if (json) {
    const line = (seen: Observation | string): string =>
      typeof seen === 'string'
        ? JSON.stringify({ run: workflowId, execution: seen })
        : JSON.stringify({ run: workflowId, execution: seen.execution, ...seen.status, live: seen.live });
    return { next: (seen: Observation | string) => say(line(seen)), done: () => {} };
  }
  if (out.isTTY) {
    const live = createLogUpdate(out);
    let last = '';
    const next = (seen: Observation | string): void => {
      if (typeof seen === 'object') last = renderRun(seen, true);
      const note = seen === 'silent' ? WAITS : typeof seen === 'string' ? `The run is ${seen}.` : '';
      live([last, note].filter(Boolean).join('\n'));
    };
    return { next, done: () => live.done() };
  }
  const plain = new PlainLines();
  const next = (seen: Observation | string): void => {
    if (typeof seen === 'string') say(seen === 'silent' ? WAITS : `The run is ${seen}.`);
    else {
      told = '';
      for (const line of plain.news(seen)) out.write(`${line}\n`);
    }
  };
  return { next, done: () => {} };
}
