/** Reads from artifacts what a report states: a few small files of each, never the weights. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ReportInput } from '../../contracts/report.ts';
import { type HistoryRecord, historySchema } from '../../contracts/trainer.ts';
import { readEvaluation } from '../eval/read-evaluation.ts';
import type { Artifacts } from '../store/artifacts.ts';
import type { Transfer } from '../store/store.ts';
import type { ReportFiles } from './facts.ts';

export async function readReportFiles(
  artifacts: Artifacts,
  refs: ReportInput['artifacts'],
  transfer: Transfer,
): Promise<ReportFiles> {
  const train = await artifacts.fetch(refs.train, transfer, (path) => path === 'history.jsonl');
  const filtered = await artifacts.fetch(refs.filtered, transfer, (path) => path === 'lengths.json');
  return {
    history: parseLines(await readFile(join(train, 'history.jsonl'), 'utf8')),
    lengths: lengthsSchema.parse(JSON.parse(await readFile(join(filtered, 'lengths.json'), 'utf8'))).bins,
    base: await readEvaluation(artifacts, refs.evalBase, transfer),
    tuned: await readEvaluation(artifacts, refs.evalTuned, transfer),
  };
}

/** Of `lengths.json` the histogram; what else is in it the filter's summary has told. */
const lengthsSchema = z.object({
  bins: z.array(z.object({ from: z.number(), to: z.number(), rows: z.int().min(0) })),
});

const parseLines = (text: string): HistoryRecord[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => historySchema.parse(JSON.parse(line)));
