/** Writes Parquet from rows: zstd, in row groups of bounded size, the same bytes for the same rows. */
import { open } from 'node:fs/promises';
import { makeBuilder, RecordBatch, type Schema, Struct, Table, tableToIPC } from 'apache-arrow';
import * as parquet from 'parquet-wasm';

/** Columns by name; nested lists and structs as plain arrays and objects. */
export type ParquetRow = Record<string, unknown>;

const BATCH_ROWS = 1024;
/** Arrow's offsets have 32 bits, and a batch is held several times (JavaScript, IPC, WebAssembly) on its way. */
const BATCH_CHARACTERS = 4 << 20;
const ROW_GROUP_ROWS = 65_536;
const ROW_GROUP_BYTES = 16 << 20;

/**
 * Streams rows into `file` and returns how many there were. The schema is explicit, since inference makes
 * dictionaries of strings. What `rows` throws is thrown on, and then `file` is incomplete.
 */
export async function writeParquet<Row extends object>(
  file: string,
  schema: Schema,
  rows: AsyncIterable<Row> | Iterable<Row>,
): Promise<number> {
  let count = 0;
  let failure: { error: unknown } | undefined;
  const batches = inBatches(rows);
  const source = new ReadableStream<parquet.RecordBatch>(
    {
      async pull(controller) {
        try {
          const next = await batches.next();
          if (next.done) return controller.close();
          count += next.value.length;
          controller.enqueue(toWasm(schema, next.value));
        } catch (error) {
          failure = { error };
          controller.error(error);
        }
      },
    },
    { highWaterMark: 0 },
  );
  const properties = new parquet.WriterPropertiesBuilder()
    .setCompression(parquet.Compression.ZSTD)
    .setMaxRowGroupSize(ROW_GROUP_ROWS)
    .setMaxRowGroupBytes(ROW_GROUP_BYTES)
    .build();
  const handle = await open(file, 'w');
  try {
    // Without a batch there is no schema, so an empty table is written in one piece.
    const first = await peek(source);
    if (first === null) {
      const empty = parquet.Table.fromIPCStream(tableToIPC(new Table(schema), 'stream'));
      await handle.writeFile(parquet.writeParquet(empty, properties));
      return 0;
    }
    const bytes = (await parquet.transformParquetStream(first, properties)) as ReadableStream<Uint8Array>;
    for await (const chunk of bytes) await handle.writeFile(chunk);
    // parquet-wasm takes a source's error for its end.
    if (failure) throw failure.error;
    return count;
  } catch (error) {
    throw failure ? failure.error : error;
  } finally {
    await handle.close();
  }
}

/** The same stream, or null when it ends without a batch. */
async function peek(source: ReadableStream<parquet.RecordBatch>): Promise<ReadableStream<parquet.RecordBatch> | null> {
  const reader = source.getReader();
  const first = await reader.read();
  if (first.done) return null;
  let next: parquet.RecordBatch | null = first.value;
  return new ReadableStream<parquet.RecordBatch>(
    {
      async pull(controller) {
        if (next) {
          controller.enqueue(next);
          next = null;
          return;
        }
        const following = await reader.read();
        if (following.done) controller.close();
        else controller.enqueue(following.value);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* inBatches<Row extends object>(
  rows: AsyncIterable<Row> | Iterable<Row>,
): AsyncGenerator<Row[], void, undefined> {
  let batch: Row[] = [];
  let characters = 0;
  for await (const row of rows) {
    batch.push(row);
    characters += textLength(row);
    if (batch.length < BATCH_ROWS && characters < BATCH_CHARACTERS) continue;
    yield batch;
    batch = [];
    characters = 0;
  }
  if (batch.length > 0) yield batch;
}

function textLength(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (value === null || typeof value !== 'object') return 8;
  return Object.values(value).reduce<number>((sum, item) => sum + textLength(item), 0);
}

function toWasm(schema: Schema, rows: object[]): parquet.RecordBatch {
  const builder = makeBuilder({ type: new Struct(schema.fields), nullValues: [null, undefined] });
  for (const row of rows) builder.append(row as never);
  const batch = new RecordBatch(schema, builder.finish().flush());
  const table = parquet.Table.fromIPCStream(tableToIPC(new Table([batch]), 'stream'));
  try {
    const [converted] = table.recordBatches();
    if (!converted) throw new Error('a batch of rows became no Arrow batch');
    return converted;
  } finally {
    table.free();
  }
}
