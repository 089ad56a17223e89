/** Where a run keeps its bytes: the store, and the disk under the cache. */
import { randomUUID } from 'node:crypto';
import type { StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkWritable, openStore } from '../../activities/store/open-store.ts';
import { type Check, fail, firstLine, ok, warn, within } from './check.ts';

const STORE_ANSWERS_WITHIN_MS = 15_000;
const GB = 1e9;
/** A checkpoint of the demo is a few megabytes; below this even logs and packages run out of room. */
const LEAST_FREE_BYTES = 2 * GB;
/** Dream 7B with its optimizer in float32 is 91 GB; one checkpoint is written while another is kept. */
const DREAM_7B_FREE_BYTES = 200 * GB;

export async function checkStore(storeUrl: string): Promise<Check[]> {
  try {
    const store = openStore(storeUrl);
    await within(STORE_ANSWERS_WITHIN_MS, store.url, checkWritable(store));
    return [
      ok('store', `${store.url} can be written`),
      await within(STORE_ANSWERS_WITHIN_MS, store.url, checkConditionalWrites(store)),
    ];
  } catch (error) {
    return [fail('store', firstLine(error), 'correct REVERIE_STORE, its credentials or its permissions')];
  }
}

/** Some S3 servers accept the condition and overwrite all the same, so both outcomes are tried. */
async function checkConditionalWrites(store: ReturnType<typeof openStore>): Promise<Check> {
  const key = `.probe/${randomUUID()}`;
  const body = Buffer.from('once');
  const without = (found: string): Check =>
    warn(
      'conditional writes',
      found,
      'runs work; two promotions at the same moment could lose one, so promote one at a time',
    );
  try {
    const first = await store.putIfAbsent(key, body);
    const second = await store.putIfAbsent(key, body);
    if (first && !second) return ok('conditional writes', 'honoured');
    return without('not honoured: a second write replaced the first');
  } catch (error) {
    if (error instanceof Error && error.name === 'ConditionalWritesUnsupported') return without('not supported');
    throw error;
  } finally {
    await store.delete([key]);
  }
}

export async function checkDisk(cacheDir: string): Promise<Check> {
  const { bavail, bsize } = await statfsNearest(cacheDir);
  const freeBytes = bavail * bsize;
  const found = `${(freeBytes / GB).toFixed(0)} GB free for ${cacheDir}`;
  const elsewhere = 'free some, or point REVERIE_CACHE_DIR at a larger disk';
  if (freeBytes < LEAST_FREE_BYTES) return fail('disk', found, elsewhere);
  if (freeBytes < DREAM_7B_FREE_BYTES) {
    return warn('disk', found, `enough for the demo; for Dream 7B have ${DREAM_7B_FREE_BYTES / GB} GB: ${elsewhere}`);
  }
  return ok('disk', found);
}

/** The folder is made by the first run; until then its nearest parent tells. */
async function statfsNearest(folder: string): Promise<StatsFs> {
  for (let at = folder; ; at = dirname(at)) {
    try {
      return await statfs(at);
    } catch (error) {
      if (at === dirname(at)) throw error;
    }
  }
}
