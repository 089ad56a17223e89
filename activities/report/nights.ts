/**
 * The nights of one family, in the store: what each run over the same source with the same recipe came to, so that a
 * report can show the last ones beside its own. A record is the run's own, so that none is ever written by two.
 */
import { z } from 'zod';
import { canonicalJson, type JsonValue } from '../../contracts/canonical-json.ts';
import { goodput } from '../../contracts/ledger.ts';
import type { ReportInput } from '../../contracts/report.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import { sha256 } from '../../contracts/stage-keys.ts';
import { trainParameters } from '../../contracts/stage-parameters.ts';
import { wilsonInterval } from '../../contracts/statistics.ts';
import { isUnchanged } from '../../contracts/workflow-api.ts';
import type { Store } from '../store/store.ts';

const key = z.string().regex(/^[0-9a-f]{64}$/);
const share = z.number().min(0).max(1);

/** `nights/<family>/<time>-<run id>.json`. */
export const nightSchema = z.object({
  version: z.literal(1),
  workflowId: z.string(),
  runId: z.string(),
  startedAt: z.string(),
  state: z.enum(['done', 'unchanged']),
  /** Key of the artifact that is its report. */
  report: key,
  /** Keys of its model and of its evaluation: a later night of the same has nothing new to tell. */
  train: key,
  evalTuned: key,
  dataset: z.object({ source: z.string(), revision: z.string() }),
  accuracy: z.object({
    base: share.nullable(),
    tuned: share.nullable(),
    low: share.nullable(),
    high: share.nullable(),
  }),
  /** Validation loss, or else the last of training. */
  loss: z.number().nullable(),
  gpuHours: z.number(),
  goodput: share.nullable(),
});
export type Night = z.infer<typeof nightSchema>;

/** As many as a report's table shows beside its own. */
const SHOWN = 9;

/**
 * Runs that can be compared: of one recipe over one source, whatever revision of it. A part of what the keys of their
 * stages hash, so that runs of the same artifacts are of one family.
 */
export function familyOf(spec: RunSpec): string {
  const { revision: _, ...dataset } = spec.dataset;
  const of = { model: spec.model.source, dataset, train: trainParameters(spec), eval: spec.eval };
  return sha256(canonicalJson(of));
}

export function nightOf(input: ReportInput, report: string): Night {
  const { run, stages, artifacts, sources, summaries, gpuHours, ledger } = input;
  const { evalBase, evalTuned, train } = summaries;
  const interval = wilsonInterval(evalTuned.correct, evalTuned.correct + evalTuned.incorrect);
  return {
    version: 1,
    workflowId: run.workflowId,
    runId: run.runId,
    startedAt: run.startedAt,
    state: isUnchanged(stages) ? 'unchanged' : 'done',
    report,
    train: artifacts.train.key,
    evalTuned: artifacts.evalTuned.key,
    dataset: sources.dataset,
    accuracy: {
      base: evalBase.accuracy,
      tuned: evalTuned.accuracy,
      low: interval?.low ?? null,
      high: interval?.high ?? null,
    },
    loss: train.validationLoss ?? train.finalLoss,
    gpuHours,
    goodput: ledger ? goodput(ledger) : null,
  };
}

const folder = (spec: RunSpec): string => `nights/${familyOf(spec)}/`;
const recordKey = ({ spec, run }: ReportInput): string =>
  `${folder(spec)}${run.startedAt.replaceAll(/[:.]/g, '-')}-${run.runId}.json`;

/** The last nights before this run, oldest first; a record that cannot be read is left out. */
export async function readNights(store: Store, input: ReportInput): Promise<Night[]> {
  const own = recordKey(input);
  const earlier: string[] = [];
  for await (const { key } of store.list(folder(input.spec))) if (key < own) earlier.push(key);
  const records = await Promise.all(earlier.slice(-SHOWN).map((each) => store.get(each)));
  return records.flatMap((bytes) => parsed(bytes) ?? []);
}

function parsed(bytes: Uint8Array | null): Night | null {
  try {
    return bytes === null ? null : nightSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return null;
  }
}

/** Again with the same bytes when the activity is tried again. */
export async function writeNight(store: Store, input: ReportInput, night: Night): Promise<void> {
  await store.put(recordKey(input), Buffer.from(`${canonicalJson(night as unknown as JsonValue)}\n`));
}

/** The night whose work this run was served: the newest that made something, and made the same. */
export function sameAs(input: ReportInput, nights: readonly Night[]): Night | null {
  if (!isUnchanged(input.stages)) return null;
  const { train, evalTuned } = input.artifacts;
  const same = nights.filter((night) => night.train === train.key && night.evalTuned === evalTuned.key);
  return same.findLast(({ state }) => state === 'done') ?? same[0] ?? null;
}
