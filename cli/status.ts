/** `reverie status RUN`: how a run stands now, once. */
import { connectClient } from '../workers/connect.ts';
import { findRun } from './find-run.ts';
import { ask } from './nobody-answers.ts';
import { look } from './observe.ts';
import { renderRun } from './render-run.ts';

export interface StatusOptions {
  run: string;
  json: boolean;
  deadlineSeconds: number;
  out?: NodeJS.WritableStream & { isTTY?: boolean };
}

/** Needs a CPU worker, which answers for the run. */
export async function status({ run, json, deadlineSeconds, out = process.stdout }: StatusOptions): Promise<void> {
  const { client, connection } = await connectClient();
  try {
    await findRun(client, run);
    const seen = await ask(client, run, deadlineSeconds, () => look(client, run));
    out.write(
      json
        ? `${JSON.stringify({ execution: seen.execution, ...seen.status, live: seen.live })}\n`
        : `${run}: ${seen.status.state}\n${renderRun(seen, out.isTTY ?? false)}\n`,
    );
  } finally {
    await connection.close();
  }
}
