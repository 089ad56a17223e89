/** A run's lineage read again: each artifact's files against its manifest, and its key against what it was made from. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { inputOf, type ReportFacts } from '../../activities/report/facts.ts';
import { bytes } from '../../activities/report/numbers.ts';
import { reportKey } from '../../activities/report/write-report.ts';
import { MANIFEST, readManifest } from '../../activities/store/artifact-manifest.ts';
import { Damaged } from '../../activities/store/damaged.ts';
import { inParallel } from '../../activities/store/in-parallel.ts';
import type { Store } from '../../activities/store/store.ts';
import { canonicalJson, type JsonValue } from '../../contracts/canonical-json.ts';
import { runSpecSchema } from '../../contracts/run-spec.ts';
import { convertKey, datasetKey, evalKey, filterKey, modelKey, trainKey } from '../../contracts/stage-keys.ts';
import type { ArtifactManifest, ArtifactRef, ArtifactStage } from '../../contracts/stages.ts';
import { type Check, fail, ok } from '../doctor/check.ts';
import { readSteps, type StepRecord } from './compare-steps.ts';
import { hashTensors } from './tensors.ts';

const FILES_AT_ONCE = 3;
const REMEDY = 'trust nothing that was made from it; a new run of the same spec makes it again';

const ref = z.object({ stage: z.string(), key: z.string(), digest: z.string() });
const pinned = z.object({ source: z.string(), revision: z.string() });

/** What is looked at before the key proves that the whole is as a run of this version wrote it. */
export const reportSchema = z
  .looseObject({
    headline: z.string(),
    spec: runSpecSchema,
    sources: z.object({ dataset: pinned, model: pinned }),
    artifacts: z.object({
      dataset: ref,
      model: ref,
      converted: ref,
      filtered: ref,
      train: ref,
      evalBase: ref,
      evalTuned: ref,
    }),
    summaries: z.looseObject({ train: z.looseObject({ weightsSha256: z.string(), steps: z.int(), ranks: z.int() }) }),
  })
  .transform((report) => report as unknown as Report);
export type Report = ReportFacts & { headline: string };

/** What a stage left, and what it must have been made from. */
interface Link {
  name: string;
  stage: ArtifactStage;
  key: string;
  /** As the run heard of it; null where nothing but the report itself tells. */
  digest: string | null;
  /** The key again, from the spec and the digests of the inputs. */
  madeFrom: string;
  from: string;
  /** What the report says of it; null where it says nothing. */
  summary: object | null;
}

function linksOf(report: Report, reportsKey: string): Link[] {
  const { spec, sources, artifacts, summaries } = report;
  const { dataset, model, converted, filtered, train, evalBase, evalTuned } = artifacts;
  const link = (
    name: string,
    ref: ArtifactRef,
    madeFrom: string,
    from: string,
    summary: object | null = null,
  ): Link => ({
    ...ref,
    name,
    madeFrom,
    from,
    summary,
  });
  return [
    link('dataset', dataset, datasetKey(sources.dataset, spec.dataset.split), 'its source at its revision'),
    link('model', model, modelKey(sources.model), 'its source at its revision'),
    link('convert', converted, convertKey(spec, dataset), 'spec and dataset', summaries.convert),
    link('filter', filtered, filterKey(spec, converted, model), 'spec, convert and model', summaries.filter),
    link('train', train, trainKey(spec, filtered, model), 'spec, filter and model', summaries.train),
    link('eval base', evalBase, evalKey(spec, filtered, model), 'spec, filter and model', summaries.evalBase),
    link('eval tuned', evalTuned, evalKey(spec, filtered, train), 'spec, filter and train', summaries.evalTuned),
    {
      name: 'report',
      stage: 'report',
      key: reportsKey,
      digest: null,
      madeFrom: reportKey(inputOf(report)),
      from: "the run's record",
      summary: null,
    },
  ];
}

export interface Reading {
  store: Store;
  report: Report;
  /** `artifacts/report/KEY/report.json`. */
  reportPath: string;
  /** What replays need stays in it: `model/` and `filter/`. */
  dir: string;
  signal: AbortSignal;
  tell: (check: Check) => void;
}

/** The training's steps, where all that a replay needs is sound; else null. Every artifact is told of. */
export async function verifyLineage(reading: Reading): Promise<StepRecord[] | null> {
  const { report, reportPath, dir, signal, tell } = reading;
  const damaged = new Set<string>();
  let steps: StepRecord[] = [];
  for (const link of linksOf(report, dirname(reportPath).split('/').at(-1) ?? '')) {
    const folder = join(dir, link.name);
    try {
      const { files } = await fetchAll(reading, link, folder);
      const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
      const found = `${files.length} ${files.length === 1 ? 'file' : 'files'}, ${size}, as stated; key ${link.key.slice(0, 8)}… follows from ${link.from}`;
      if (link.name === 'train') {
        const { weightsSha256 } = report.summaries.train;
        const weights = await hashTensors(join(folder, 'model'), 'model', signal);
        if (weights !== weightsSha256) throw new Damaged(`its weights have SHA-256 ${weights}, not ${weightsSha256}`);
        steps = await readSteps(folder);
        tell(ok(link.name, `${found}; weights ${weights.slice(0, 8)}… as stated`));
      } else tell(ok(link.name, found));
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      damaged.add(link.name);
      tell(fail(link.name, `artifacts/${link.stage}/${link.key}: ${error.message}`, REMEDY));
    }
    if (!['model', 'filter'].includes(link.name)) await rm(folder, { recursive: true, force: true });
  }
  // Training again from what is not what it was would prove nothing.
  return ['model', 'filter', 'train'].some((name) => damaged.has(name)) ? null : steps;
}

/** Throws Damaged with the first thing that is not as stated. */
async function fetchAll({ store, signal }: Reading, link: Link, folder: string): Promise<ArtifactManifest> {
  const prefix = `artifacts/${link.stage}/${link.key}/`;
  const bytes = await store.get(prefix + MANIFEST);
  if (bytes === null) throw new Damaged('its manifest is gone');
  const manifest = readManifest<JsonValue>(bytes, link.stage, link.key);
  if (link.digest !== null && manifest.digest !== link.digest)
    throw new Damaged(`its digest is ${manifest.digest}; the run saw ${link.digest}`);
  if (link.key !== link.madeFrom)
    throw new Damaged(`its key does not follow from ${link.from}, which give ${link.madeFrom}`);
  if (link.summary !== null && canonicalJson(manifest.summary) !== canonicalJson(link.summary as JsonValue))
    throw new Damaged(
      `its manifest's summary is not what the run saw: ${firstDifference(manifest.summary, link.summary)}`,
    );
  await inParallel(manifest.files, FILES_AT_ONCE, async ({ path, size, sha256 }) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    const got = await store.download(prefix + path, join(folder, path), { signal });
    if (got === null) throw new Damaged(`${path} is missing`);
    if (got.size !== size) throw new Damaged(`${path} has ${got.size} bytes, not ${size}`);
    if (got.sha256 !== sha256) throw new Damaged(`${path} has SHA-256 ${got.sha256}, not ${sha256}`);
  });
  return manifest;
}

function firstDifference(found: JsonValue, expected: object): string {
  const field = (of: unknown, name: string): string => canonicalJson((of as Record<string, JsonValue>)[name] ?? null);
  const name = Object.keys(expected).find((name) => field(found, name) !== field(expected, name));
  return name === undefined
    ? 'a field that is not known'
    : `${name} ${field(found, name)}, not ${field(expected, name)}`;
}
