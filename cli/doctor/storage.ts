/** Where a run keeps its bytes: the store, and the disk under the cache. */
import type { StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkWritable, honoursConditionalWrites, openStore } from '../../activities/store/open-store.ts';
import type { Store } from '../../activities/store/store.ts';
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

async function checkConditionalWrites(store: Store): Promise<Check> {
  if (await honoursConditionalWrites(store)) return ok('conditional writes', 'honoured');
  return warn(
    'conditional writes',
    'not honoured',
    'runs work; two promotions at the same moment could lose one, so promote one at a time',
  );
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
