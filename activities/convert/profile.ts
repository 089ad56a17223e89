/** Gathers what profile.json tells about a data set: rows, columns, the first row, sources, lengths in characters. */
import type { Describe } from '../../contracts/stages.ts';
import { describe } from '../describe.ts';
import type { SplitRow } from '../parquet/split-row.ts';
import type { Mapping } from './mapping.ts';
import type { SourceRecord } from './records.ts';
import type { ConvertedRow, RowTexts } from './row.ts';

/** `profile.json`. */
export interface DatasetProfile {
  files: string[];
  rows: number;
  columns: string[];
  mapping: Mapping;
  /** As the data set has it. */
  firstRow: SourceRecord;
  /** The same row as it was converted. */
  firstConverted: SplitRow;
  /** Rows by source, the most frequent first, at most 100 of them; null where no column names a source. */
  sources: { source: string; rows: number }[] | null;
  /** Lengths in Unicode characters over all rows; null where the column is missing. */
  characters: Record<keyof RowTexts, Describe | null>;
  split: { train: number; validation: number; validationFraction: number; seed: number };
}

const UNNAMED = '(none)';
const MOST_SOURCES = 100;

export class ProfileBuilder {
  readonly #lengths: Record<keyof RowTexts, number[]> = { question: [], response: [], trace: [], reference: [] };
  readonly #sources = new Map<string, number>();
  #firstConverted: SplitRow | null = null;

  add({ row, texts }: ConvertedRow): void {
    this.#firstConverted ??= row;
    for (const name of Object.keys(texts) as (keyof RowTexts)[]) this.#lengths[name].push(characters(texts[name]));
    const source = row.source ?? UNNAMED;
    this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1);
  }

  build(about: Omit<DatasetProfile, 'firstConverted' | 'sources' | 'characters'>): DatasetProfile {
    if (!this.#firstConverted) throw new Error('a profile was asked for before its first row');
    const { question, response, trace, reference } = this.#lengths;
    const sources = [...this.#sources]
      .map(([source, rows]) => ({ source, rows }))
      .sort((a, b) => b.rows - a.rows || (a.source < b.source ? -1 : 1));
    return {
      ...about,
      firstConverted: this.#firstConverted,
      sources: about.mapping.source === null ? null : sources.slice(0, MOST_SOURCES),
      characters: {
        question: describe(question),
        response: describe(response),
        trace: about.mapping.trace === null ? null : describe(trace),
        reference: describe(reference),
      },
    };
  }
}

/** Code points, as Python's len() counts; JavaScript's length counts those beyond U+FFFF twice. */
function characters(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xd800 && unit <= 0xdbff) count--;
  }
  return count;
}
