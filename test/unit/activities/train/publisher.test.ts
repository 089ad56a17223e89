import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import type { Checkpoints } from '../../../../activities/store/checkpoints.ts';
import { Publisher, type Saved } from '../../../../activities/train/publisher.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

/** A store that is away until it is told otherwise. */
async function publisher(t: TestContext, { retryMs }: { retryMs?: number } = {}) {
  const root = await scratchFolder(t);
  const store = { isAway: true, tried: [] as string[], kept: [] as number[] };
  const checkpoints = {
    publish: async (_: string, folder: string) => {
      store.tried.push(folder);
      if (store.isAway) throw new Error('away');
    },
    retain: async () => {},
  } as unknown as Checkpoints;
  const made = new Publisher({
    checkpoints,
    attempt: 'a',
    log: pino({ level: 'silent' }),
    transfer: {},
    ...(retryMs !== undefined && { retryMs }),
    onCommitted: ({ step }) => void store.kept.push(step),
  });
  const saved = async (step: number): Promise<Saved> => {
    const folder = join(root, `step-${step}`);
    await mkdir(folder);
    return { step, folder, bytes: 0 };
  };
  const held = async (): Promise<string[]> => {
    const names = await readdir(root, { recursive: true });
    return names.filter((name) => name.endsWith('.hold'));
  };
  const tries = (count: number) => eventually(`${count} tries`, async () => store.tried.length >= count || null);
  return { made, store, saved, held, tries };
}

test('a checkpoint that did not arrive is held, and tried again though no other follows', async (t) => {
  const { made, store, saved, held, tries } = await publisher(t, { retryMs: 20 });
  made.add(await saved(5));
  await tries(3);
  assert.deepEqual(await held(), ['step-5/.hold']);
  store.isAway = false;
  await eventually('it is up', async () => store.kept[0] === 5 || null);
  await eventually('no hold', async () => (await held()).length === 0 || null);
});

test('of many saved while the store is away, the newest alone is brought up and held', async (t) => {
  const { made, store, saved, held, tries } = await publisher(t);
  made.add(await saved(1));
  await tries(1);
  for (const step of [2, 3, 4]) made.add(await saved(step));
  await tries(2);
  await eventually('one hold', async () => (await held()).join() === 'step-4/.hold' || null);
  store.isAway = false;
  await made.settled();
  assert.deepEqual(store.kept, [4]);
  assert.equal(store.tried.filter((folder) => folder.endsWith('step-1')).length, 1, 'not again once a newer one waits');
  assert.deepEqual(await held(), []);
});

test('at the end it is tried once more, and then told', async (t) => {
  const { made, store, saved, held, tries } = await publisher(t);
  made.add(await saved(1));
  await tries(1);
  await eventually('it waits', async () => (await held()).length === 1 || null);
  await assert.rejects(made.settled(), /away/);
  assert.ok(store.tried.length <= 2, `${store.tried.length} tries`);
  assert.deepEqual(await held(), []);
});
