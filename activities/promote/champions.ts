/** The line of champions of a name: a numbered history that is only added to, and a pointer to its newest entry. */
import { z } from 'zod';
import { canonicalJson, type JsonValue } from '../../contracts/canonical-json.ts';
import type { Store } from '../store/store.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const artifactRef = z.strictObject({
  stage: z.enum(['dataset', 'model', 'convert', 'filter', 'train', 'eval', 'report']),
  key: sha256,
  digest: sha256,
});
const pinned = z.strictObject({ source: z.string(), revision: z.string() });

/** `champions/<name>/history/<number>.json`, and the same as `champions/<name>/current.json`. */
export const championSchema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  number: z.int().min(1),
  train: artifactRef,
  weightsSha256: sha256,
  model: pinned,
  dataset: pinned,
  evaluation: z.strictObject({
    base: artifactRef,
    tuned: artifactRef,
    questions: z.int().min(1),
    gain: z.number().describe('Tuned less base, as a share, over the questions graded for both.'),
    low: z.number().describe('95 % interval.'),
    high: z.number(),
    pValue: z.number(),
  }),
  run: z.strictObject({ workflowId: z.string(), runId: z.string(), startedAt: z.string() }),
});
export type Champion = z.infer<typeof championSchema>;

const folder = (name: string): string => `champions/${name}`;
const recordKey = (name: string, number: number): string =>
  `${folder(name)}/history/${String(number).padStart(8, '0')}.json`;

/** The newest entry of the history, which is the truth; `current.json` may lag behind it by one crash. */
export async function newestChampion(store: Store, name: string): Promise<Champion | null> {
  let newest: string | null = null;
  for await (const { key } of store.list(`${folder(name)}/history/`)) newest = key;
  const bytes = newest === null ? null : await store.get(newest);
  return bytes === null ? null : championSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
}

/**
 * Adds an entry after the newest and points to it. The same weights from the same run are added once, however often
 * this is tried. Where the store has conditional writes, two at once get two numbers; elsewhere the later one stands.
 */
export async function crown(store: Store, entry: Omit<Champion, 'number'>): Promise<Champion> {
  for (;;) {
    const newest = await newestChampion(store, entry.name);
    const repeated = newest?.run.runId === entry.run.runId && newest.weightsSha256 === entry.weightsSha256;
    const champion = repeated ? newest : { ...entry, number: (newest?.number ?? 0) + 1 };
    const body = Buffer.from(`${canonicalJson(champion as unknown as JsonValue)}\n`);
    if (!repeated && !(await writeOnce(store, recordKey(entry.name, champion.number), body))) continue;
    await store.put(`${folder(entry.name)}/current.json`, body);
    return champion;
  }
}

async function writeOnce(store: Store, key: string, body: Uint8Array): Promise<boolean> {
  try {
    return await store.putIfAbsent(key, body);
  } catch (error) {
    if ((error as Error).name !== 'ConditionalWritesUnsupported') throw error;
    await store.put(key, body);
    return true;
  }
}
