/** Reads the trainer's events.jsonl as it grows. */
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventSchema, type TrainerEvent } from '../../contracts/trainer.ts';

const POLL_MS = 50;
const CHUNK_BYTES = 256 * 1024;

/**
 * Yields each event in order, until `ended` is settled and the file is read to its end. A last line without its end
 * was cut by a kill and is left out. Throws where a line is no event: then trainer and activities differ in version.
 */
export async function* followEvents(file: string, ended: Promise<unknown>): AsyncGenerator<TrainerEvent> {
  let over = false;
  void ended.finally(() => (over = true)).catch(() => {});
  let offset = 0;
  let rest = Buffer.alloc(0);
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (;;) {
    const last = over;
    let count = 0;
    do {
      count = await readAt(file, buffer, offset);
      offset += count;
      rest = Buffer.concat([rest, buffer.subarray(0, count)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield parse(rest.subarray(0, end).toString());
        rest = rest.subarray(end + 1);
      }
    } while (count > 0);
    if (last) return;
    await sleep(POLL_MS);
  }
}

async function readAt(file: string, buffer: Buffer, offset: number): Promise<number> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return 0;
  try {
    return (await handle.read(buffer, 0, buffer.length, offset)).bytesRead;
  } finally {
    await handle.close();
  }
}

function parse(line: string): TrainerEvent {
  const parsed = eventSchema.safeParse(JSON.parse(line));
  if (parsed.success) return parsed.data;
  throw new Error(
    `the trainer wrote ${line.slice(0, 200)}; expected an event of this version; install the trainer and the worker from one checkout`,
  );
}
