/** Data set → train.parquet, validation.parquet and profile.json: read, mapped, split and written in streams. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rejected } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { ConvertSummary } from '../../contracts/stages.ts';
import { type SplitRow, splitSchema } from '../parquet/split-row.ts';
import { writeParquet } from '../parquet/write.ts';
import { type Turn, takingTurns } from '../turn.ts';
import { type Mapping, onlyEmptyResponses, resolveMapping } from './mapping.ts';
import { type DatasetProfile, ProfileBuilder } from './profile.ts';
import { type DatasetFile, dataFiles, readRecords, type SourceRecord } from './records.ts';
import { convertRecord } from './row.ts';
import { RowSpool } from './row-spool.ts';
import { type Split, trainTestSplit } from './train-test-split.ts';

export interface ConvertInput extends Turn {
  /** Folder of the data set's files. */
  from: string;
  /** Folder that receives the three files. */
  to: string;
  dataset: Pick<RunSpec['dataset'], 'mapping' | 'validationFraction' | 'splitSeed'>;
}

/** Rows of each file that are looked at for column names before the mapping is settled. */
const PEEK_ROWS = 100;

/** Throws DatasetRejected. Memory is bounded by a row group of a Parquet input, not by the number of rows. */
export async function convertDataset({ from, to, dataset, signal, progress }: ConvertInput): Promise<ConvertSummary> {
  const files = await dataFiles(from);
  const { firstRow, columns, withText } = await peek(from, files);
  const mapping = resolveMapping(dataset.mapping, columns);
  const spool = await RowSpool.create<SplitRow>(join(to, 'rows.spool'));
  try {
    const turn = takingTurns({ signal, progress });
    const profile = new ProfileBuilder();
    const ids = new Set<string>();
    let responses = 0;
    for await (const located of readRecords(from, files, { columns: mappedColumns(mapping) })) {
      const converted = convertRecord(located, mapping, spool.length);
      if (mapping.id !== null) mustBeNew(ids, converted.row.id, mapping.id, located.where);
      if (converted.row.response.trim() !== '') responses++;
      profile.add(converted);
      await spool.append(converted.row);
      await turn();
    }
    const rows = spool.length;
    if (responses === 0) throw onlyEmptyResponses(mapping, rows, withText);
    const split = splitRows(rows, dataset);
    for (const side of ['train', 'validation'] as const) {
      await writeParquet(join(to, `${side}.parquet`), splitSchema, inOrder(spool, split[side], turn));
    }
    const counts = { train: split.train.length, validation: split.validation.length };
    await writeProfile(
      to,
      profile.build({
        files: files.map((file) => file.path),
        rows,
        columns,
        mapping,
        firstRow,
        split: { ...counts, validationFraction: dataset.validationFraction, seed: dataset.splitSeed },
      }),
    );
    const { question, response, trace, reference } = mapping;
    return { rows, ...counts, columns, mapping: { question, response, trace, reference } };
  } finally {
    await spool.remove();
  }
}

export interface Peek {
  firstRow: SourceRecord;
  /** In the order in which they appear. */
  columns: string[];
  /** Columns with text in one of the rows seen. */
  withText: string[];
}

/** What the first rows of each file tell about the columns. Throws DatasetRejected where there is no row at all. */
export async function peek(from: string, files: readonly DatasetFile[]): Promise<Peek> {
  let firstRow: SourceRecord | undefined;
  const columns = new Set<string>();
  const withText = new Set<string>();
  for await (const { record } of readRecords(from, files, { limitPerFile: PEEK_ROWS })) {
    firstRow ??= record;
    for (const [column, value] of Object.entries(record)) {
      columns.add(column);
      if (typeof value === 'string' && value.trim() !== '') withText.add(column);
    }
  }
  if (firstRow) return { firstRow, columns: [...columns], withText: [...withText] };
  const names = files.map((file) => file.path).join(', ') || 'no data file';
  throw rejected(
    'DatasetRejected',
    `The data set holds no rows (${names}); expected at least 2; write it again, or correct dataset.source or dataset.split.`,
  );
}

const mappedColumns = (mapping: Mapping): string[] =>
  [mapping.question, mapping.response, mapping.trace, mapping.reference, mapping.source, mapping.id].filter(
    (column) => column !== null,
  );

function mustBeNew(ids: Set<string>, id: string, column: string, where: string): void {
  if (ids.has(id)) {
    throw rejected(
      'DatasetRejected',
      `${where}, column ${column} repeats the id ${id}; expected an id for each row alone; map another column to dataset.mapping.id, or leave it null to number the rows.`,
    );
  }
  ids.add(id);
}

function splitRows(rows: number, { validationFraction, splitSeed }: ConvertInput['dataset']): Split {
  const split = trainTestSplit(rows, validationFraction, splitSeed);
  if (split.train.length > 0) return split;
  throw rejected(
    'DatasetRejected',
    `The data set has ${rows} rows, and dataset.validationFraction ${validationFraction} holds out all of them; expected at least one row to train on; lower the fraction, or use more data.`,
  );
}

async function* inOrder(
  spool: RowSpool<SplitRow>,
  order: Uint32Array,
  turn: () => Promise<void> | void,
): AsyncGenerator<SplitRow, void, undefined> {
  for (const index of order) {
    yield await spool.read(index);
    await turn();
  }
}

async function writeProfile(to: string, profile: DatasetProfile): Promise<void> {
  // Parquet's 64-bit integers have no JSON form of their own.
  const text = JSON.stringify(profile, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value), 2);
  await writeFile(join(to, 'profile.json'), `${text}\n`);
}
