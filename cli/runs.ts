/** Verbs about one run: start, watch. */
import type { Client } from '@temporalio/client';
import { connectClient } from '../workers/connect.ts';
import { follow } from './follow.ts';
import { readSpecFile } from './spec-file.ts';
import { startRun } from './start.ts';

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

export async function watch(workflowId: string, signal: AbortSignal): Promise<void> {
  const { client, connection } = await connectClient();
  try {
    await client.workflow.getHandle(workflowId).describe();
    await toTheEnd(client, workflowId, signal);
  } finally {
    await connection.close();
  }
}

async function toTheEnd(client: Client, workflowId: string, signal: AbortSignal): Promise<void> {
  const last = await follow({ client, workflowId, out: process.stdout, signal });
  if (last && last.execution !== 'completed') process.exitCode = 1;
}
