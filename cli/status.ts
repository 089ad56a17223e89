/** `reverie status RUN`: how a run stands now, once. */
import { connectClient } from '../workers/connect.ts';
import { findRun } from './find-run.ts';
import { observe } from './observe.ts';
import { renderRun } from './render-run.ts';

export interface StatusOptions {
  run: string;
  json: boolean;
  out?: NodeJS.WritableStream & { isTTY?: boolean };
}

/** Needs a CPU worker, which answers for the run. */
export async function status({ run, json, out = process.stdout }: StatusOptions): Promise<void> {
  const { client, connection } = await connectClient();
  try {
    const { status } = await findRun(client, run);
    const seen = await observe(client, run);
    if (seen === null) {
      throw new Error(
        `Nobody answers for run ${run}, which is ${status.name.toLowerCase()}; expected a CPU worker; start one with \`reverie worker cpu\`, or look at the run in the UI.`,
      );
    }
    out.write(
      json
        ? `${JSON.stringify({ execution: seen.execution, ...seen.status, live: seen.live })}\n`
        : `${run}: ${seen.status.state}\n${renderRun(seen, out.isTTY ?? false)}\n`,
    );
  } finally {
    await connection.close();
  }
}
