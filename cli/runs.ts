/** Verbs about one run: start, watch. */
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { connectClient } from '../workers/connect.ts';
import { exitCodeOfRun } from '../workers/exit-code.ts';
import { findRun } from './find-run.ts';
import { follow } from './follow.ts';
import { readSpecFile } from './spec-file.ts';
import { startRun } from './start.ts';
import { watchAll } from './watch-all.ts';

export async function start(request: {
  file: string | null;
  id: string | null;
  watch: boolean;
  signal: AbortSignal;
}): Promise<void> {
  const spec = await readSpecFile(request.file);
  const { client, connection } = await connectClient();
  try {
    const workflowId = request.id ?? `fine-tune-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
    const handle = await startRun({ client, workflowId, spec });
    process.stdout.write(`Started ${workflowId}, run ${handle.firstExecutionRunId}\n`);
    if (request.watch) await toTheEnd(client, workflowId, request.signal);
  } finally {
    await connection.close();
  }
}

/** Without a run, all that are open, until the signal. */
export async function watch({
  run,
  json,
  signal,
}: {
  run: string | null;
  json: boolean;
  signal: AbortSignal;
}): Promise<void> {
  const { client, connection } = await connectClient();
  try {
    if (run === null) {
      await watchAll({ client, out: process.stdout, json, signal });
      throw signal.reason;
    }
    await findRun(client, run);
    await toTheEnd(client, run, signal, json);
  } finally {
    await connection.close();
  }
}

/** Ends as the run did: 0 done, 2 where its input was refused, 1 otherwise, with the reason on standard error. */
async function toTheEnd(client: Client, workflowId: string, signal: AbortSignal, json = false): Promise<void> {
  const last = await follow({ client, workflowId, out: process.stdout, signal, json });
  if (last === null) throw signal.reason;
  if (last.execution === 'completed') return;
  const { type, message } = await reasonOf(client, workflowId);
  process.stderr.write(`${message}\n`);
  process.exitCode = exitCodeOfRun(type);
}

async function reasonOf(client: Client, workflowId: string): Promise<{ type: string | null; message: string }> {
  try {
    await client.workflow.getHandle(workflowId).result();
    return { type: null, message: `Run ${workflowId} is done.` };
  } catch (error) {
    const cause = error instanceof WorkflowFailedError ? error.cause : error;
    const type = cause instanceof ApplicationFailure ? (cause.type ?? null) : null;
    return { type, message: cause instanceof Error ? cause.message : String(cause) };
  }
}
