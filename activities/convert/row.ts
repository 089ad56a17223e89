/** Turns one record of a data set into a row of train.parquet or validation.parquet. */
import { rejected } from '../../contracts/failures.ts';
import type { Message, SplitRow } from '../parquet/split-row.ts';
import type { Mapping } from './mapping.ts';
import type { Located, SourceRecord } from './records.ts';

/** The mapped texts as they came, for the profile. */
export interface RowTexts {
  question: string;
  response: string;
  trace: string;
  reference: string;
}

export interface ConvertedRow {
  row: SplitRow;
  texts: RowTexts;
}

/** `number` counts rows from 0 over all files. Throws DatasetRejected for a value that is no text. */
export function convertRecord({ record, where }: Located, mapping: Mapping, number: number): ConvertedRow {
  const read = (column: string): string => textOf(record, column, where);
  const texts = {
    question: read(mapping.question),
    response: read(mapping.response),
    trace: mapping.trace === null ? '' : traceOf(record, mapping.trace, where),
    reference: read(mapping.reference),
  };
  const row = {
    id: mapping.id === null ? String(number) : idOf(record, mapping.id, where),
    prompt: promptOf(texts.question, mapping.systemPrompt),
    response: responseOf(texts, mapping.includeTrace),
    reference: texts.reference,
    source: mapping.source === null ? null : read(mapping.source) || null,
  };
  return { row, texts };
}

export function promptOf(question: string, systemPrompt: string | null): Message[] {
  const user = { role: 'user', content: question };
  return systemPrompt === null ? [user] : [{ role: 'system', content: systemPrompt }, user];
}

/** A trace without an answer is no response: the row stays empty, and filter names it so. */
export function responseOf({ response, trace }: RowTexts, includeTrace: Mapping['includeTrace']): string {
  if (includeTrace === 'none' || response.trim() === '' || trace.trim() === '') return response;
  return includeTrace === 'plain' ? `${trace}\n\n${response}` : `<think>\n${trace}\n</think>\n\n${response}`;
}

/** Missing and null are empty: filter rejects such a row by name. */
function textOf(record: SourceRecord, column: string, where: string): string {
  const value = record[column] ?? '';
  if (typeof value !== 'string') throw notText(value, column, where, 'text');
  if (hasLoneSurrogate(value)) {
    throw rejected(
      'DatasetRejected',
      `${where}, column ${column} holds half of a surrogate pair, which UTF-8 cannot write; expected Unicode text; correct the row, or remove it.`,
    );
  }
  return value;
}

/** s1K keeps its trajectories as a list, joined here by an empty line. */
function traceOf(record: SourceRecord, column: string, where: string): string {
  const value = record[column];
  if (!Array.isArray(value)) return textOf(record, column, where);
  return value.map((part) => textOf({ [column]: part as unknown }, column, where)).join('\n\n');
}

function idOf(record: SourceRecord, column: string, where: string): string {
  const value = record[column];
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  if (typeof value !== 'string' || value === '') throw notText(value, column, where, 'an id (text or a whole number)');
  return textOf(record, column, where);
}

function notText(value: unknown, column: string, where: string, expected: string): Error {
  const text =
    JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? String(item) : item)) ?? 'missing';
  const came = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return rejected(
    'DatasetRejected',
    `${where}, column ${column} is ${came}; expected ${expected}; map another column in dataset.mapping, or convert its values.`,
  );
}

/** With the u flag a surrogate matches only where it has no partner. */
const hasLoneSurrogate = (text: string): boolean => /\p{Surrogate}/u.test(text);
