/** Tokenises both splits as the trainer will, removes what cannot be used by name and reason, and measures lengths. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { rejected } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { FilterSummary, RejectReason } from '../../contracts/stages.ts';
import { readParquet } from '../parquet/read.ts';
import { type SplitRow, splitSchema } from '../parquet/split-row.ts';
import { writeParquet } from '../parquet/write.ts';
import type { ModelTokenizer } from '../tokenizer.ts';
import { type Turn, takingTurns } from '../turn.ts';
import { emptySplitProblem } from './empty-split.ts';
import { comparedTokens, judge, type Limits } from './judge.ts';
import { measureLengths, type SplitLengths, type SplitName, splitNames } from './lengths.ts';
import { SpecialTextFinder } from './special-text.ts';

export interface FilterInput extends Turn {
  /** Folder with train.parquet and validation.parquet as convert wrote them. */
  from: string;
  /** Folder that receives the same two, rejects.jsonl and lengths.json. */
  to: string;
  spec: Pick<RunSpec, 'filter' | 'eval'>;
  tokenizer: ModelTokenizer;
}

/** A line of rejects.jsonl. */
export interface Reject {
  id: string;
  split: SplitName;
  reason: RejectReason;
  /** What was held against maxTokens: the row, or a validation prompt with the room for its answer. */
  tokens: number;
}

interface SplitResult {
  kept: number;
  rejected: Partial<Record<RejectReason, number>>;
  /** Tokens of the over-long rows. */
  overLong: number[];
  lengths: SplitLengths;
}

/** Throws DatasetRejected where a text holds a special token, or where a split would be empty. */
export async function filterSplits({
  from,
  to,
  spec,
  tokenizer,
  signal,
  progress,
}: FilterInput): Promise<FilterSummary> {
  const turn = takingTurns({ signal, progress });
  await refuseSpecialText(from, tokenizer, turn);
  const limits = { maxTokens: spec.filter.maxTokens, maxNewTokens: spec.eval.sampler.maxNewTokens };
  const rejects = createWriteStream(join(to, 'rejects.jsonl'));
  const filterSplit = (split: SplitName): Promise<SplitResult> =>
    keepUsable({ split, from, to, tokenizer, limits, rejects, turn });
  const train = await filterSplit('train');
  const validation = await filterSplit('validation');
  rejects.end();
  await finished(rejects);

  const splits = { train, validation };
  const problems = splitNames
    .filter((split) => splits[split].kept === 0)
    .map((split) => emptySplitProblem({ split, limits, ...splits[split] }));
  if (problems.length > 0) throw rejected('DatasetRejected', ...problems);
  const { thresholds } = spec.filter;
  const lengths = measureLengths(
    { train: train.lengths, validation: validation.lengths },
    limits.maxTokens,
    thresholds,
  );
  await writeFile(join(to, 'lengths.json'), `${JSON.stringify(lengths, null, 2)}\n`);
  return {
    train: { kept: train.kept, rejected: train.rejected },
    validation: { kept: validation.kept, rejected: validation.rejected },
    maxTokens: limits.maxTokens,
    lengths: lengths.describe,
    over: lengths.thresholds,
  };
}

/** A pass of its own before any token is counted: it takes milliseconds, and names every such row. */
async function refuseSpecialText(from: string, tokenizer: ModelTokenizer, turn: () => Promise<void> | void) {
  const finder = new SpecialTextFinder(tokenizer);
  for (const split of splitNames) {
    for await (const row of readParquet<SplitRow>(join(from, `${split}.parquet`))) {
      finder.look(split, row);
      await turn();
    }
  }
  const failure = finder.failure();
  if (failure) throw failure;
}

interface KeepInput {
  split: SplitName;
  from: string;
  to: string;
  tokenizer: ModelTokenizer;
  limits: Limits;
  rejects: WriteStream;
  turn: () => Promise<void> | void;
}

async function keepUsable({ split, from, to, tokenizer, limits, rejects, turn }: KeepInput): Promise<SplitResult> {
  const removed: SplitResult['rejected'] = {};
  const overLong: number[] = [];
  const lengths: SplitLengths = { prompt: [], response: [] };
  const file = `${split}.parquet`;
  async function* kept(): AsyncGenerator<SplitRow, void, undefined> {
    for await (const row of readParquet<SplitRow>(join(from, file))) {
      const counts = {
        prompt: tokenizer.promptIds(row.prompt).length,
        response: tokenizer.responseIds(row.response).length,
      };
      lengths.prompt.push(counts.prompt);
      lengths.response.push(counts.response);
      const reason = judge(split, row, counts, limits);
      if (reason === null) yield row;
      else {
        const reject: Reject = { id: row.id, split, reason, tokens: comparedTokens(split, counts, limits) };
        rejects.write(`${JSON.stringify(reject)}\n`);
        removed[reason] = (removed[reason] ?? 0) + 1;
        if (reason === 'over-long') overLong.push(reject.tokens);
      }
      await turn();
    }
  }
  const count = await writeParquet(join(to, file), splitSchema, kept());
  return { kept: count, rejected: removed, overLong, lengths };
}
