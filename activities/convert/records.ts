/** Reads the rows of a data set's folder, file after file in order of path, whatever format they have. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ReverieFailure, rejected } from '../../contracts/failures.ts';
import { formatOf } from '../download/dataset-files.ts';
import { readParquet, UnreadableParquet } from '../parquet/read.ts';
import { BrokenArray, fileBytes, type JsonPiece, jsonArray, jsonLines } from './json-records.ts';

export type SourceRecord = Record<string, unknown>;

export interface Located {
  record: SourceRecord;
  /** `train.jsonl, line 17`, for messages. */
  where: string;
}

export interface DatasetFile {
  /** Relative to the folder, with forward slashes. */
  path: string;
  format: NonNullable<ReturnType<typeof formatOf>>;
}

export interface ReadOptions {
  /** Columns to decode of formats that can choose; null is all. */
  columns?: readonly string[] | null;
  /** The first rows of each file only. */
  limitPerFile?: number;
}

export async function dataFiles(folder: string): Promise<DatasetFile[]> {
  const entries = await readdir(folder, { recursive: true });
  return entries
    .map((entry) => entry.replaceAll('\\', '/'))
    .sort()
    .flatMap((path) => {
      const format = formatOf(path);
      return format ? [{ path, format }] : [];
    });
}

/** Throws DatasetRejected, naming file and line or row. */
export async function* readRecords(
  folder: string,
  files: readonly DatasetFile[],
  { columns = null, limitPerFile = Number.POSITIVE_INFINITY }: ReadOptions = {},
): AsyncGenerator<Located, void, undefined> {
  for (const file of files) {
    const path = join(folder, file.path);
    const records =
      file.format === 'Parquet' ? parquetRecords(path, file.path, columns, limitPerFile) : jsonRecords(path, file);
    let count = 0;
    for await (const located of records) {
      if (count++ >= limitPerFile) break;
      yield located;
    }
  }
}

async function* parquetRecords(
  path: string,
  name: string,
  columns: readonly string[] | null,
  limit: number,
): AsyncGenerator<Located, void, undefined> {
  let row = 0;
  const options = { ...(columns && { columns }), ...(Number.isFinite(limit) && { limit }) };
  try {
    for await (const record of readParquet<SourceRecord>(path, options))
      yield { record, where: `${name}, row ${row++}` };
  } catch (error) {
    if (!(error instanceof UnreadableParquet)) throw error;
    throw rejected(
      'DatasetRejected',
      `${name} cannot be read after row ${row} (${error.message}); expected a whole Parquet file; copy or write it again.`,
    );
  }
}

async function* jsonRecords(path: string, { path: name }: DatasetFile): AsyncGenerator<Located, void, undefined> {
  const pieces = name.toLowerCase().replace(/\.gz$/, '').endsWith('.json')
    ? jsonFile(path)
    : jsonLines(fileBytes(path));
  try {
    for await (const { bytes, line } of pieces) {
      const where = `${name}, line ${line}`;
      yield { record: parseRecord(bytes, where), where };
    }
  } catch (error) {
    if (error instanceof BrokenArray) {
      throw malformed(`${name}, line ${error.line}`, `${error.message}`, 'a JSON array of objects');
    }
    if (!isGzipError(error)) throw error;
    throw rejected(
      'DatasetRejected',
      `${name} cannot be unpacked (${error.message}); expected a whole gzip file; copy or compress it again.`,
    );
  }
}

/** A .json file is an array, or lines under another name, as other readers take it too. */
async function* jsonFile(path: string): AsyncGenerator<JsonPiece, void, undefined> {
  yield* (await firstByte(path)) === '[' ? jsonArray(fileBytes(path)) : jsonLines(fileBytes(path));
}

async function firstByte(path: string): Promise<string | undefined> {
  for await (const chunk of fileBytes(path)) {
    const text = Buffer.from(chunk).toString('latin1').trimStart();
    if (text) return text[0];
  }
  return undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parseRecord(bytes: Uint8Array, where: string): SourceRecord {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw rejected(
      'DatasetRejected',
      `${where} holds bytes that are not UTF-8; expected UTF-8 text; convert the file with iconv, or remove the line.`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw malformed(where, `text that is not JSON (${(error as Error).message})`, 'one JSON object');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    const kind = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
    throw malformed(where, kind, 'one JSON object');
  }
  return value as SourceRecord;
}

function malformed(where: string, came: string, expected: string): ReverieFailure {
  return rejected('DatasetRejected', `${where} is ${came}; expected ${expected}; correct it, or remove it.`);
}

function isGzipError(error: unknown): error is Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === 'Z_BUF_ERROR' || code === 'Z_DATA_ERROR' || code === 'ERR_STREAM_PREMATURE_CLOSE';
}
