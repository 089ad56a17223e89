/** Shows a run live until it closes: redrawn on a terminal, as plain lines in a pipe. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { createLogUpdate } from 'log-update';
import { type Observation, observe } from './observe.ts';
import { PlainLines, renderRun } from './render-run.ts';

export interface FollowOptions {
  client: Client;
  workflowId: string;
  out: NodeJS.WriteStream;
  signal?: AbortSignal;
  onLook?: (seen: Observation) => void;
}

const LOOK_MS = 250;

/** Resolves with the last look once the run is closed, or null when the signal was aborted before. */
export async function follow({ client, workflowId, out, signal, onLook }: FollowOptions): Promise<Observation | null> {
  const live = out.isTTY ? createLogUpdate(out) : null;
  const plain = new PlainLines();
  let last: Observation | null = null;
  while (!signal?.aborted) {
    // A server that restarts, or a worker that is not up yet, is waited for.
    const seen = await observe(client, workflowId).catch(() => null);
    if (seen !== null) {
      last = seen;
      onLook?.(seen);
      if (live) live(renderRun(seen, true));
      else for (const line of plain.news(seen)) out.write(`${line}\n`);
      if (seen.execution !== 'running') break;
    }
    await sleep(LOOK_MS);
  }
  live?.done();
  return signal?.aborted ? null : last;
}
