/** Reads Parquet row by row, as plain values, holding one row group of the wanted columns at a time. */
import { open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { ParquetRow } from './write.ts';

/** Thrown when a file is no Parquet, is cut short, or holds pages that do not decode. */
export class UnreadableParquet extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = 'UnreadableParquet';
  }
}

export interface ReadParquetOptions {
  /** Columns to decode; all by default. Names that the file lacks are left out. */
  columns?: readonly string[];
  /** The first rows only. */
  limit?: number;
}

/**
 * Lists come as arrays, structs as objects, 64-bit integers as bigint, null as null. Throws UnreadableParquet; errors
 * of the file system pass through. Not parquet-wasm, whose reader aborts the process on a damaged page.
 */
export async function* readParquet<Row = ParquetRow>(
  path: string,
  options: ReadParquetOptions = {},
): AsyncGenerator<Row, void, undefined> {
  const handle = await open(path);
  try {
    const file: AsyncBuffer = {
      byteLength: (await handle.stat()).size,
      async slice(start, end = file.byteLength) {
        const bytes = new Uint8Array(Math.max(0, Math.min(end, file.byteLength) - start));
        await handle.read(bytes, 0, bytes.length, start);
        return bytes.buffer;
      },
    };
    const metadata = await decoding(() => parquetMetadataAsync(file));
    const present = parquetSchema(metadata).children.map((column) => column.element.name);
    const columns = options.columns?.filter((name) => present.includes(name)) ?? present;
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    for (const [rowStart, rowEnd] of rowGroups(metadata, limit)) {
      const selection = { file, metadata, columns, rowStart, rowEnd, compressors, parsers: { stringFromBytes } };
      yield* (await decoding(() => parquetReadObjects(selection))) as Row[];
    }
  } finally {
    await handle.close();
  }
}

function* rowGroups(metadata: FileMetaData, limit: number): Generator<[start: number, end: number]> {
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = Math.min(start + Number(group.num_rows), limit);
    if (end > start) yield [start, end];
    start += Number(group.num_rows);
  }
}

async function decoding<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw error;
    throw new UnreadableParquet(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function stringFromBytes(bytes: Uint8Array | undefined): string | undefined {
  try {
    return bytes && utf8.decode(bytes);
  } catch {
    throw new Error('a text holds bytes that are not UTF-8');
  }
}
