/** What each way of mapping a data set would keep: counted before anything runs, for `reverie plan`. */
import { ReverieFailure } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { Describe, FilterSplitSummary } from '../../contracts/stages.ts';
import { type Mapping, resolveMapping } from '../convert/mapping.ts';
import type { Located } from '../convert/records.ts';
import { convertRecord } from '../convert/row.ts';
import { permutation, trainTestSplit } from '../convert/train-test-split.ts';
import { describe } from '../describe.ts';
import type { ModelTokenizer } from '../tokenizer.ts';
import { type Turn, takingTurns } from '../turn.ts';
import { judge } from './judge.ts';
import { countAbove, type SplitName } from './lengths.ts';

export interface MappingPlan {
  response: string;
  includeTrace: Mapping['includeTrace'];
  /** The trace's column where it is included. */
  trace: string | null;
  /** The way that the spec asks for. */
  chosen: boolean;
  rows: number;
  /** Rows that were tokenised: all of them, or a random sample where the budget ended. The counts below are of these. */
  counted: number;
  train: FilterSplitSummary;
  validation: FilterSplitSummary;
  tokens: Describe;
  over: { threshold: number; rows: number }[];
}

export interface PlanInput extends Turn {
  records: readonly Located[];
  columns: readonly string[];
  spec: Pick<RunSpec, 'dataset' | 'filter' | 'eval'>;
  tokenizer: ModelTokenizer;
  /** Tokens after which a way is judged by the rows counted so far; a million take some 3 s. */
  tokenBudget?: number;
}

/** Response columns of the public data sets, each with the trace that led to it, in order of preference. */
const pairs: readonly [response: string, trace: string | null][] = [
  ['deepseek_attempt', 'deepseek_thinking_trajectory'],
  ['gemini_attempt', 'gemini_thinking_trajectory'],
  ['attempt', 'thinking_trajectories'],
  ['solution', null],
  ['answer', 'thinking'],
  ['response', 'thinking'],
];

/** The chosen way first. Throws DatasetRejected where that one cannot be read; others that cannot are left out. */
export async function planMappings(input: PlanInput): Promise<MappingPlan[]> {
  const chosen = resolveMapping(input.spec.dataset.mapping, input.columns);
  const plans: MappingPlan[] = [];
  for (const mapping of waysOfMapping(chosen, input.columns)) {
    try {
      plans.push(await planOne(input, mapping, mapping === chosen));
    } catch (error) {
      if (mapping === chosen || !(error instanceof ReverieFailure)) throw error;
    }
  }
  return plans;
}

/** The given mapping, and the same with every other response that the columns offer, without and with its trace. */
export function waysOfMapping(chosen: Mapping, columns: readonly string[]): Mapping[] {
  const wrap = chosen.includeTrace === 'none' ? 'think-tags' : chosen.includeTrace;
  const offered = [[chosen.response, chosen.trace] as const, ...pairs];
  const ways = [chosen];
  for (const [response, trace] of offered) {
    if (!columns.includes(response) || response === chosen.question) continue;
    const alone: Mapping = { ...chosen, response, trace: null, includeTrace: 'none' };
    const traced: Mapping = { ...chosen, response, trace, includeTrace: wrap };
    for (const way of trace !== null && columns.includes(trace) ? [alone, traced] : [alone]) {
      if (!ways.some((known) => isSameWay(known, way))) ways.push(way);
    }
  }
  return ways;
}

const isSameWay = (a: Mapping, b: Mapping): boolean =>
  a.response === b.response && a.includeTrace === b.includeTrace && (a.includeTrace === 'none' || a.trace === b.trace);

async function planOne(
  { records, spec, tokenizer, tokenBudget = 1_000_000, signal, progress }: PlanInput,
  mapping: Mapping,
  chosen: boolean,
): Promise<MappingPlan> {
  const turn = takingTurns({ signal, progress });
  const { validationFraction, splitSeed } = spec.dataset;
  const heldOut = new Set(trainTestSplit(records.length, validationFraction, splitSeed).validation);
  const limits = { maxTokens: spec.filter.maxTokens, maxNewTokens: spec.eval.sampler.maxNewTokens };
  const splits: Record<SplitName, FilterSplitSummary> = {
    train: { kept: 0, rejected: {} },
    validation: { kept: 0, rejected: {} },
  };
  const lengths: number[] = [];
  let tokens = 0;
  // A sample in an order of its own: files are often sorted by source or length.
  for (const index of permutation(records.length, 0)) {
    const { row } = convertRecord(records[index] as Located, mapping, index);
    const counts = {
      prompt: tokenizer.promptIds(row.prompt).length,
      response: tokenizer.responseIds(row.response).length,
    };
    const split = heldOut.has(index) ? 'validation' : 'train';
    const reason = judge(split, row, counts, limits);
    if (reason === null) splits[split].kept++;
    else splits[split].rejected[reason] = (splits[split].rejected[reason] ?? 0) + 1;
    lengths.push(counts.prompt + counts.response);
    tokens += counts.prompt + counts.response;
    await turn();
    if (tokens >= tokenBudget) break;
  }
  return {
    response: mapping.response,
    includeTrace: mapping.includeTrace,
    trace: mapping.includeTrace === 'none' ? null : mapping.trace,
    chosen,
    rows: records.length,
    counted: lengths.length,
    ...splits,
    tokens: describe(lengths) as Describe,
    over: spec.filter.thresholds.map((threshold) => ({ threshold, rows: countAbove(lengths, threshold) })),
  };
}
