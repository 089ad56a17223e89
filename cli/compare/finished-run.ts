/** Finds the report of a finished run, by workflow id, path or address, and reads what is asked of it. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Client } from '@temporalio/client';
import { z } from 'zod';
import type { Store } from '../../activities/store/store.ts';
import { rejected } from '../../contracts/failures.ts';
import { samplerSchema } from '../../contracts/trainer.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import { connectClient } from '../../workers/connect.ts';
import { findRun } from '../find-run.ts';

const hex = z.string().regex(/^[0-9a-f]{64}$/);

/** The part of report.json that is read here; runs of other versions may differ in the rest. */
const finishedRunSchema = z.object({
  spec: z.object({
    dataset: z.object({ mapping: z.object({ systemPrompt: z.string().nullable() }) }),
    eval: z.object({
      sampler: samplerSchema,
      seed: z.int().min(0),
      recipe: z.enum(['auto', 'fp32', 'bf16']),
      threads: z.int().min(1).nullable(),
    }),
  }),
  artifacts: z.object({
    model: z.object({ stage: z.literal('model'), key: hex, digest: hex }),
    train: z.object({ stage: z.literal('train'), key: hex, digest: hex }),
  }),
});
export type FinishedRun = z.infer<typeof finishedRunSchema>;

/** Where a report lies: in the store, by its key; or a file, beside which its store can be found. */
export interface ReportPlace {
  key: string;
  /** Null: the store of the environment. */
  storeUrl: string | null;
}

/** A server is asked only about what is no report's place. Throws InvalidSpec. */
export async function findReport(run: string): Promise<ReportPlace> {
  const place = reportOnDisk(run) ?? reportInStore(run);
  if (place) return place;
  const { client, connection } = await connectClient();
  try {
    return await reportOfWorkflow(client, run);
  } finally {
    await connection.close();
  }
}

const REPORT = /^artifacts\/report\/[^/]+\/report\.\w+$/;

/** A run may be named by its report on this disk, which needs no server; null for what is no path. */
export function reportOnDisk(run: string): ReportPlace | null {
  if (!/[/\\.]/.test(run) || !existsSync(run)) return null;
  const path = resolve(run);
  const folder = statSync(path).isDirectory() ? path : dirname(path);
  const root = dirname(dirname(dirname(folder)));
  const key = `artifacts/report/${basename(folder)}/report.json`;
  if (resolve(root, key) === join(folder, 'report.json') && existsSync(join(folder, 'report.json'))) {
    return { key, storeUrl: pathToFileURL(root).href };
  }
  throw rejected(
    'InvalidSpec',
    `${run} is not a report within a store; expected …/artifacts/report/KEY/report.html, or a workflow id; name the report as the run printed it.`,
  );
}

/** By its key alone, or after the address of its store: `s3://bucket/prefix/artifacts/report/KEY/report.html`. */
export function reportInStore(run: string): ReportPlace | null {
  const [, storeUrl, key] =
    /^(?:(?:(\w+:\/\/.+|\/.*)\/)?artifacts\/report\/)?([0-9a-f]{64})(?:\/(?:report\.\w+)?)?$/.exec(run) ?? [];
  return key === undefined ? null : { key: `artifacts/report/${key}/report.json`, storeUrl: storeUrl ?? null };
}

/** From the result of a closed workflow: that takes a server, but no worker. Throws InvalidSpec for an unfinished run. */
export async function reportOfWorkflow(client: Client, workflowId: string): Promise<ReportPlace> {
  const { status } = await findRun(client, workflowId);
  const state = status.name.toLowerCase();
  if (state !== 'completed') {
    const remedy = state === 'running' ? `wait for it with \`reverie watch ${workflowId}\`` : 'name another run';
    throw rejected('InvalidSpec', `Run ${workflowId} is ${state}; expected one that has its tuned model; ${remedy}.`);
  }
  const { report } = (await client.workflow.getHandle(workflowId).result()) as RunResult;
  if (!REPORT.test(report)) throw unreadable(report, 'no key of a report');
  return { key: report.replace(/\.\w+$/, '.json'), storeUrl: null };
}

export const readFinishedRun = (store: Store, place: ReportPlace): Promise<FinishedRun> =>
  readReport(store, place, finishedRunSchema);

export async function readReport<T>(store: Store, { key }: ReportPlace, schema: z.ZodType<T>): Promise<T> {
  const bytes = await store.get(key);
  if (bytes === null) {
    throw rejected(
      'InvalidSpec',
      `Report ${key} is not in the store ${store.url}; expected the store that the run wrote to; set REVERIE_STORE to it.`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw unreadable(key, 'not JSON');
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw unreadable(key, `not as a report is, at ${issue?.path.join('.')}: ${issue?.message}`);
}

const unreadable = (report: string, came: string): Error =>
  rejected('InvalidSpec', `Report ${report} is ${came}; expected a report of this version; start the run again.`);
