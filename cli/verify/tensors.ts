/** Safetensors files as the trainer hashes their content: over tensors in order of name, whatever file each lies in. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Damaged } from '../../activities/store/damaged.ts';
import { CHUNK_BYTES } from '../../activities/store/hashing.ts';

/** A tensor, or the rows of one that a rank held. */
interface Piece {
  file: string;
  name: string;
  /** As PyTorch calls it. */
  dtype: string;
  /** Of the whole. */
  shape: number[];
  /** Its first row, and how many there are. */
  row: number;
  rows: number;
  /** Of its bytes in the file; the end is exclusive. */
  begin: number;
  end: number;
}

const dtypes = { F32: 'float32', BF16: 'bfloat16', F16: 'float16', I8: 'int8', U8: 'uint8' } as const;
const HEADER_BYTES_MAX = 100_000_000;

/** In the metadata: [first row, whole shape] of each tensor of which the file holds some rows. */
const piecesSchema = z.record(z.string(), z.tuple([z.int().min(0), z.array(z.int().min(0))]));
const metadataSchema = z.object({ pieces: z.string().optional() }).optional();
const headerSchema = z.record(
  z.string(),
  z.object({
    dtype: z.enum(Object.keys(dtypes) as (keyof typeof dtypes)[]),
    shape: z.array(z.int().min(0)),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
);

/** Of the folder's safetensors files whose names begin so. Throws Damaged for what is not in that format. */
export async function hashTensors(folder: string, prefix: string, signal?: AbortSignal): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.startsWith(prefix) && name.endsWith('.safetensors'));
  const pieces = (await Promise.all(files.map((name) => readHeader(join(folder, name))))).flat();
  const hash = createHash('sha256');
  let last = { name: '', row: 0, rows: 0 };
  const expectWhole = (): void => {
    if (last.row < last.rows) throw new Damaged(`${last.name} ends with row ${last.row} of ${last.rows}`);
  };
  for (const { file, name, dtype, shape, row, rows, begin, end } of pieces.sort(inOrder)) {
    if (name !== last.name) {
      expectWhole();
      hash.update(`${JSON.stringify([name, dtype, shape])}\n`);
      last = { name, row: 0, rows: shape[0] ?? 1 };
    }
    if (row !== last.row) throw new Damaged(`${file} has ${name} from row ${row}, not ${last.row}`);
    last.row += rows;
    if (begin === end) continue;
    const bytes = createReadStream(file, { start: begin, end: end - 1, highWaterMark: CHUNK_BYTES });
    for await (const chunk of bytes) {
      signal?.throwIfAborted();
      hash.update(chunk as Buffer);
    }
  }
  expectWhole();
  return hash.digest('hex');
}

const inOrder = (a: Piece, b: Piece): number => (a.name === b.name ? a.row - b.row : a.name < b.name ? -1 : 1);

/** Eight bytes with the header's length, little-endian; the header, JSON; the tensors. */
async function readHeader(file: string): Promise<Piece[]> {
  const handle = await open(file);
  try {
    const length = Buffer.alloc(8);
    await handle.read(length, 0, 8, 0);
    const headerBytes = Number(length.readBigUInt64LE());
    if (headerBytes > HEADER_BYTES_MAX) throw new Damaged(`${file} has a header of ${headerBytes} bytes`);
    const text = Buffer.alloc(headerBytes);
    await handle.read(text, 0, headerBytes, 8);
    const { __metadata__: metadata, ...header } = JSON.parse(text.toString('utf8')) as Record<string, unknown>;
    const pieces = piecesSchema.parse(JSON.parse(metadataSchema.parse(metadata)?.pieces ?? '{}'));
    return Object.entries(headerSchema.parse(header)).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const start = 8 + headerBytes;
        const [row, whole] = pieces[name] ?? [0, shape];
        const of = { file, name, dtype: dtypes[dtype], shape: whole, row, rows: shape[0] ?? 1 };
        return { ...of, begin: start + begin, end: start + end };
      },
    );
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError)
      throw new Damaged(`${file} is no safetensors file`);
    throw error;
  } finally {
    await handle.close();
  }
}
