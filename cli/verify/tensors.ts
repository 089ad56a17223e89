/** Safetensors files as the trainer hashes their content: over tensors in order of name, whatever file each lies in. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Damaged } from '../../activities/store/damaged.ts';
import { CHUNK_BYTES } from '../../activities/store/hashing.ts';

interface Tensor {
  file: string;
  name: string;
  /** As PyTorch calls it. */
  dtype: string;
  shape: number[];
  /** Of its bytes in the file; the end is exclusive. */
  begin: number;
  end: number;
}

const dtypes = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' } as const;
const HEADER_BYTES_MAX = 100_000_000;

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
  const tensors = (await Promise.all(files.map((name) => readHeader(join(folder, name))))).flat();
  const hash = createHash('sha256');
  for (const { file, name, dtype, shape, begin, end } of tensors.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(`${JSON.stringify([name, dtype, shape])}\n`);
    if (begin === end) continue;
    const bytes = createReadStream(file, { start: begin, end: end - 1, highWaterMark: CHUNK_BYTES });
    for await (const chunk of bytes) {
      signal?.throwIfAborted();
      hash.update(chunk as Buffer);
    }
  }
  return hash.digest('hex');
}

/** Eight bytes with the header's length, little-endian; the header, JSON; the tensors. */
async function readHeader(file: string): Promise<Tensor[]> {
  const handle = await open(file);
  try {
    const length = Buffer.alloc(8);
    await handle.read(length, 0, 8, 0);
    const headerBytes = Number(length.readBigUInt64LE());
    if (headerBytes > HEADER_BYTES_MAX) throw new Damaged(`${file} has a header of ${headerBytes} bytes`);
    const text = Buffer.alloc(headerBytes);
    await handle.read(text, 0, headerBytes, 8);
    const { __metadata__: _, ...header } = JSON.parse(text.toString('utf8')) as Record<string, unknown>;
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
        return { file, name, dtype: dtypes[dtype], shape, begin: start + begin, end: start + end };
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
