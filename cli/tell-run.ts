/** Verbs that tell an open run something: resume, abort, cancel. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type WorkflowHandle, WorkflowUpdateFailedError } from '@temporalio/client';
import { rejected } from '../contracts/failures.ts';
import type { AbortRequest, ResumeRequest } from '../contracts/workflow-api.ts';
import { connectClient, NotReachable } from '../workers/connect.ts';
import { findRun } from './find-run.ts';
import { ask } from './nobody-answers.ts';

export interface Told {
  run: string;
  deadlineSeconds: number;
}

const LOOK_MS = 250;

export const resume = ({ set, ...told }: Told & { set: readonly string[] }): Promise<void> =>
  update(told, 'resume', set.length === 0 ? {} : { changes: changesFrom(set) });

export const abort = ({ reason, ...told }: Told & { reason: string | null }): Promise<void> =>
  update(told, 'abort', reason === null ? {} : { reason });

/** Ends once the run has closed, or with a word on what it waits for when the deadline is over. */
export async function cancel({ run, deadlineSeconds }: Told): Promise<void> {
  await withOpenRun(run, async (client, handle) => {
    await handle.cancel();
    const until = performance.now() + deadlineSeconds * 1000;
    for (;;) {
      const { status, raw } = await client.workflow.getHandle(run).describe();
      if (status.name !== 'RUNNING')
        return say(
          `Run ${run} is ${status.name.toLowerCase()}; its checkpoints and finished stages stay in the store.`,
        );
      if (performance.now() > until) {
        // A task that nobody has started tells that no worker polls.
        if (raw.pendingWorkflowTask?.startedTime != null || raw.pendingWorkflowTask == null)
          return say(`Run ${run} is being cancelled; what is at work ends first. \`reverie watch ${run}\` shows it.`);
        throw new NotReachable(
          `Run ${run} has its request to cancel, but nobody has answered within ${deadlineSeconds} s; expected a CPU worker on its queue; it ends once one is there: start it with \`reverie worker cpu\`.`,
        );
      }
      await sleep(LOOK_MS);
    }
  });
}

async function update(
  { run, deadlineSeconds }: Told,
  name: 'resume' | 'abort',
  request: ResumeRequest | AbortRequest,
): Promise<void> {
  await withOpenRun(run, async (client, handle) => {
    const answer = ask(client, run, deadlineSeconds, () =>
      handle.executeUpdate<string, [ResumeRequest | AbortRequest]>(name, { args: [request] }),
    );
    say(
      await answer.catch((error: unknown) => {
        // The run's own words, in place of the client's.
        if (error instanceof WorkflowUpdateFailedError && error.cause) throw error.cause;
        throw error;
      }),
    );
  });
}

async function withOpenRun(run: string, act: (client: Client, handle: WorkflowHandle) => Promise<void>): Promise<void> {
  const { client, connection } = await connectClient();
  try {
    const { status, runId } = await findRun(client, run);
    if (status.name !== 'RUNNING') {
      throw rejected(
        'InvalidSpec',
        `Run ${run} is ${status.name.toLowerCase()}; expected an open one; Reset it in the UI, or start its spec again: both go on from what the store holds.`,
      );
    }
    await act(client, client.workflow.getHandle(run, runId));
  } finally {
    await connection.close();
  }
}

/** `train.microBatchSize=1` → { train: { microBatchSize: 1 } }; a value that is no JSON is a string. */
export function changesFrom(settings: readonly string[]): NonNullable<ResumeRequest['changes']> {
  // Without a prototype: a field is only ever a field.
  const changes = Object.create(null) as Record<string, unknown>;
  for (const setting of settings) {
    const [, path, value] = /^(\w+(?:\.\w+)+)=(.*)$/s.exec(setting) ?? [];
    if (path === undefined || value === undefined) {
      throw rejected(
        'InvalidSpec',
        `--set got ${JSON.stringify(setting)}; expected a field and its value; write --set train.microBatchSize=1.`,
      );
    }
    const names = path.split('.');
    const last = names.pop() as string;
    let at = changes;
    for (const name of names) {
      at[name] ??= Object.create(null);
      at = at[name] as Record<string, unknown>;
    }
    at[last] = parsed(value);
  }
  return changes;
}

function parsed(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
