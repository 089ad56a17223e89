/** Checkpoints over both kinds of store: the newest that verifies, and what must never be deleted. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyCheckpoint } from '../../../../activities/store/checkpoint-folder.ts';
import { Checkpoints } from '../../../../activities/store/checkpoints.ts';
import type { Store } from '../../../../activities/store/store.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { CHECKPOINT_VERSION } from '../../../../contracts/trainer.ts';
import { openStores } from './stores.ts';

const identity = 'this training';

/** A folder as the trainer leaves it. */
async function writeCheckpoint(root: string, step: number, validationLoss: number | null = null, version = 1) {
  const folder = join(root, `step-${step}`);
  await mkdir(folder, { recursive: true });
  const contents = { 'weights-00000-00000.safetensors': `weights of ${step}`, 'history.jsonl': `${step}\n` };
  const files = [];
  for (const [path, text] of Object.entries(contents)) {
    await writeFile(join(folder, path), text);
    files.push({ path, size: text.length, sha256: sha256(text) });
  }
  await writeFile(join(folder, 'manifest.json'), JSON.stringify({ version, identity, step, validationLoss, files }));
  return folder;
}

const WEIGHTS = 'weights-00000-00000.safetensors';

const stores = await openStores();
for (const { kind, store, local } of stores) {
  let number = 0;
  const setUp = async () => {
    number += 1;
    const trainKey = sha256(`training ${number}`);
    const checkpoints = new Checkpoints(store, trainKey);
    const made = join(local, `made-${number}`);
    const fetched = join(local, `fetched-${number}`);
    const damaged: string[] = [];
    const publish = async (attempt: string, step: number, loss: number | null = null) =>
      checkpoints.publish(attempt, await writeCheckpoint(join(made, attempt), step, loss));
    const fetchNewest = (options = {}) =>
      checkpoints.fetchNewest(fetched, {
        identity,
        onDamaged: (where, reason) => damaged.push(`${where} ${reason}`),
        ...options,
      });
    const key = (attempt: string, step: number, path: string) =>
      `checkpoints/${trainKey}/${attempt}/step-${step}/${path}`;
    /** Of the manifest of an attempt `a1`. */
    const change = async (step: number, fields: object) => {
      const manifest = JSON.parse(Buffer.from((await store.get(key('a1', step, 'manifest.json'))) ?? []).toString());
      await store.put(key('a1', step, 'manifest.json'), Buffer.from(JSON.stringify({ ...manifest, ...fields })));
    };
    return { checkpoints, made, fetched, damaged, publish, fetchNewest, key, change };
  };
  const stepsOf = async (checkpoints: Checkpoints) => (await checkpoints.list()).map(({ step }) => step);

  test(`${kind}: passes over one seen committed whose manifest is gone, and says so`, async () => {
    const { damaged, fetchNewest, publish, key } = await setUp();
    await publish('a1', 4);
    await publish('a1', 8);
    await store.delete([key('a1', 8, 'manifest.json')]);
    assert.equal((await fetchNewest())?.step, 4);
    // As far as anyone knows, an upload under way.
    assert.deepEqual(damaged, []);
    assert.equal((await fetchNewest({ seenStep: 8 }))?.step, 4);
    assert.match(damaged.join(), /step-8\/ manifest\.json is missing$/);
  });

  test(`${kind}: lists the checkpoints of all attempts by number, newest first`, async () => {
    const { checkpoints, publish } = await setUp();
    assert.deepEqual(await checkpoints.list(), []);
    for (const [attempt, step] of [
      ['a1', 900],
      ['a1', 1000],
      ['a2', 50],
    ] as const)
      await publish(attempt, step);
    const all = await checkpoints.list();
    assert.deepEqual(
      all.map(({ step, attempt }) => [step, attempt]),
      [
        [1000, 'a1'],
        [900, 'a1'],
        [50, 'a2'],
      ],
    );
  });

  test(`${kind}: fetches the newest from the store into an empty disk`, async () => {
    const { publish, fetchNewest, fetched } = await setUp();
    assert.equal(await fetchNewest(), null);
    await publish('a1', 900);
    await publish('a2', 1000);
    assert.deepEqual(await fetchNewest(), {
      folder: join(fetched, 'step-1000'),
      step: 1000,
      source: 'store',
      needsBase: true,
    });
    assert.equal(await readFile(join(fetched, 'step-1000', WEIGHTS), 'utf8'), 'weights of 1000');
    assert.deepEqual(await readdir(fetched), ['step-1000']);
  });

  test(`${kind}: takes the local disk's copy, and one that never reached the store`, async () => {
    const { publish, fetchNewest, fetched } = await setUp();
    await publish('a1', 10);
    await writeCheckpoint(fetched, 10);
    assert.equal((await fetchNewest())?.source, 'local');
    await writeCheckpoint(fetched, 20);
    assert.deepEqual(await fetchNewest(), {
      folder: join(fetched, 'step-20'),
      step: 20,
      source: 'local',
      needsBase: true,
    });
  });

  test(`${kind}: a damaged local copy is replaced by the store's, and named`, async () => {
    const { publish, fetchNewest, fetched, damaged } = await setUp();
    await publish('a1', 10);
    const folder = await writeCheckpoint(fetched, 10);
    await writeFile(join(folder, WEIGHTS), 'w3ights of 10');
    assert.equal((await fetchNewest())?.source, 'store');
    assert.match(damaged[0] ?? '', /step-10 weights.* has SHA-256 .*, not /);
    await verifyCheckpoint(folder, identity);
  });

  const damages: [string, (key: (path: string) => string, store: Store) => Promise<void>, RegExp][] = [
    ['a flipped byte', (key, to) => to.put(key(WEIGHTS), Buffer.from('w3ights of 20')), /has SHA-256/],
    ['a file that is gone', (key, to) => to.delete([key(WEIGHTS)]), /is missing/],
    ['a cut manifest', (key, to) => to.put(key('manifest.json'), Buffer.from('{"version":1,')), /not JSON/],
    [
      'a manifest that leads out of its folder',
      async (key, to) => {
        const text = Buffer.from((await to.get(key('manifest.json'))) ?? []).toString();
        await to.put(key('manifest.json'), Buffer.from(text.replace(WEIGHTS, '../../up')));
      },
      /names "\.\.\/\.\.\/up"/,
    ],
  ];
  for (const [title, damage, reason] of damages) {
    test(`${kind}: walks back over ${title}, says so, and leaves nothing of it on the disk`, async () => {
      const { publish, fetchNewest, fetched, damaged, key } = await setUp();
      await publish('a1', 10);
      await publish('a1', 20);
      await damage((path) => key('a1', 20, path), store);
      assert.equal((await fetchNewest())?.step, 10);
      assert.equal(damaged.length, 1);
      assert.match(damaged[0] ?? '', reason);
      await assert.rejects(stat(join(fetched, 'step-20')), { code: 'ENOENT' });
    });
  }

  test(`${kind}: passes over a checkpoint of another training, and takes the second copy of a step`, async () => {
    const { publish, fetchNewest, damaged, key } = await setUp();
    await publish('a1', 20);
    await publish('a2', 20);
    await store.put(key('a2', 20, WEIGHTS), Buffer.from('w3ights of 20'));
    assert.equal((await fetchNewest())?.step, 20);
    assert.equal(damaged.length, 1);
    assert.equal(await fetchNewest({ identity: 'another training' }), null);
    assert.ok(damaged.some((line) => line.includes('its identity is this training, not another training')));
  });

  test(`${kind}: a roll-back takes a checkpoint below the step`, async () => {
    const { publish, fetchNewest } = await setUp();
    for (const step of [10, 20, 30]) await publish('a1', step);
    assert.equal((await fetchNewest({ belowStep: 30 }))?.step, 20);
  });

  test(`${kind}: an interrupted publication is no checkpoint, and goes on with what is missing`, async () => {
    const { checkpoints, made, key, fetchNewest } = await setUp();
    const folder = await writeCheckpoint(made, 10);
    await store.upload(key('a1', 10, 'history.jsonl'), join(folder, 'history.jsonl'));
    assert.deepEqual(await checkpoints.list(), []);
    let moved = 0;
    await checkpoints.publish('a1', folder, {
      onBytes: (bytes) => {
        moved += bytes;
      },
    });
    assert.equal(moved, 'weights of 10'.length);
    assert.equal((await fetchNewest())?.step, 10);
  });

  test(`${kind}: bytes that changed on the disk are not published`, async () => {
    const { checkpoints, made } = await setUp();
    const folder = await writeCheckpoint(made, 10);
    await writeFile(join(folder, WEIGHTS), 'w3ights of 10');
    await assert.rejects(checkpoints.publish('a1', folder), { type: 'HardwareFault' });
    assert.deepEqual(await checkpoints.list(), []);
  });

  test(`${kind}: keeps the newest two, the best, and what is being read`, async () => {
    const { checkpoints, publish, fetched, key } = await setUp();
    const losses: [number, number | null][] = [
      [5, null],
      [10, 0.9],
      [20, 0.5],
      [30, 0.5],
      [40, 0.7],
      [50, 0.7],
      [60, 0.8],
    ];
    for (const [step, loss] of losses) await publish('a1', step, loss);
    let deleted: { step: number }[] = [];
    const slow: Store = {
      ...methodsOf(store),
      async download(name, file, transfer) {
        // Another attempt's retention, while this one is on its way.
        if (deleted.length === 0) deleted = await checkpoints.retain();
        return store.download(name, file, transfer);
      },
    };
    const [trainKey = ''] = key('', 0, '').split('/').slice(1);
    const got = await new Checkpoints(slow, trainKey).fetchNewest(fetched, { identity, belowStep: 50 });
    assert.equal(got?.step, 40);
    assert.deepEqual(
      deleted.map(({ step }) => step),
      [30, 10, 5],
    );
    assert.deepEqual(await stepsOf(checkpoints), [60, 50, 40, 20]);
    await checkpoints.retain({ keepNewest: 2, best: false });
    assert.deepEqual(await stepsOf(checkpoints), [60, 50]);
  });

  test(`${kind}: brings up, finds and keeps one that ranks wrote in pieces`, async () => {
    const { checkpoints, made, fetchNewest, damaged } = await setUp();
    await checkpoints.publish('a1', await writeCheckpoint(made, 10, null, CHECKPOINT_VERSION));
    assert.equal((await fetchNewest())?.step, 10);
    await checkpoints.retain();
    assert.deepEqual([await stepsOf(checkpoints), damaged], [[10], []]);
  });

  test(`${kind}: goes on from one with a field that a later release added`, async () => {
    const { publish, fetchNewest, damaged, change } = await setUp();
    for (const step of [10, 20]) await publish('a1', step);
    await change(20, { later: 'and of no matter here' });
    assert.equal((await fetchNewest())?.step, 20);
    assert.deepEqual(damaged, []);
  });

  test(`${kind}: passes over one of a newer version and one of another training, and never deletes them`, async () => {
    const { checkpoints, publish, fetchNewest, damaged, change } = await setUp();
    for (const step of [10, 20, 30, 40, 50]) await publish('a1', step);
    await change(50, { version: 3, shards: 'of a kind that is yet to come' });
    await change(40, { identity: 'another training' });
    assert.equal((await fetchNewest())?.step, 30);
    assert.match(damaged[0] ?? '', /step-50\/ it has version 3, of a newer version of Reverie; upgrade this worker/);
    assert.match(damaged[1] ?? '', /step-40\/ its identity is another training, not this training/);
    await checkpoints.retain();
    assert.deepEqual(await stepsOf(checkpoints), [50, 40, 30, 20]);
  });

  test(`${kind}: takes the newest whose history fits, before a byte of its weights has moved`, async () => {
    const { publish, fetchNewest, damaged, fetched } = await setUp();
    for (const step of [10, 20, 30]) await publish('a1', step);
    assert.equal((await fetchNewest({ fits: (history: string) => Number(history) < 25 }))?.step, 20);
    assert.deepEqual(await readdir(fetched), ['step-20']);
    await writeCheckpoint(fetched, 30);
    assert.equal((await fetchNewest({ fits: (history: string) => Number(history) < 25 }))?.step, 20);
    assert.deepEqual(damaged, []);
  });

  test(`${kind}: a checkpoint with holes does not count among those kept`, async () => {
    const { checkpoints, publish, key } = await setUp();
    for (const step of [10, 20, 30, 40]) await publish('a1', step);
    await store.delete([key('a1', 40, WEIGHTS)]);
    await store.put(key('a1', 30, 'manifest.json'), Buffer.from('{'));
    await checkpoints.retain();
    assert.deepEqual(await stepsOf(checkpoints), [20, 10]);
  });

  test(`${kind}: one that did not verify on the way down does not count among those kept`, async () => {
    const { checkpoints, publish, fetchNewest, key } = await setUp();
    for (const step of [10, 20, 30]) await publish('a1', step);
    await store.put(key('a1', 30, WEIGHTS), Buffer.from('w3ights of 30'));
    assert.equal((await fetchNewest())?.step, 20);
    await checkpoints.retain();
    assert.deepEqual(await stepsOf(checkpoints), [20, 10]);
  });

  test(`${kind}: sweeps what others left unfinished an hour ago, and nothing younger or its own`, async () => {
    const { checkpoints, key } = await setUp();
    for (const attempt of ['old', 'own']) await store.put(key(attempt, 10, WEIGHTS), Buffer.from('half'));
    await checkpoints.sweepLeftovers('own');
    assert.ok(await store.get(key('old', 10, WEIGHTS)));
    const later = new Checkpoints(anHourLater(store), key('', 0, '').split('/')[1] ?? '');
    await later.sweepLeftovers('own');
    assert.equal(await store.get(key('old', 10, WEIGHTS)), null);
    assert.ok(await store.get(key('own', 10, WEIGHTS)));
  });

  test(`${kind}: a checkpoint that another attempt deletes meanwhile is not taken for damaged`, async () => {
    const { publish, fetched, damaged, key } = await setUp();
    await publish('a1', 10);
    await publish('a1', 20);
    let deletions = 0;
    const deleting: Store = {
      ...methodsOf(store),
      async download(name, file, transfer) {
        if (name.includes('/step-20/') && deletions++ === 0) {
          await store.delete(['manifest.json', WEIGHTS, 'history.jsonl'].map((path) => key('a1', 20, path)));
        }
        return store.download(name, file, transfer);
      },
    };
    const checkpoints = new Checkpoints(deleting, key('', 0, '').split('/')[1] ?? '');
    const got = await checkpoints.fetchNewest(fetched, { identity, onDamaged: (where) => damaged.push(where) });
    assert.ok(deletions > 0);
    assert.equal(got?.step, 10);
    assert.deepEqual(damaged, []);
  });

  test(`${kind}: a store that fails is not taken for damaged checkpoints`, async () => {
    const { publish, fetched, key } = await setUp();
    await publish('a1', 10);
    const failing: Store = {
      ...methodsOf(store),
      download: () => Promise.reject(Object.assign(new Error('x'), { code: 'EMFILE' })),
    };
    const checkpoints = new Checkpoints(failing, key('', 0, '').split('/')[1] ?? '');
    await assert.rejects(checkpoints.fetchNewest(fetched, { identity }), { code: 'EMFILE' });
  });
}

test('a local folder verifies only whole, and only for its own training and step', async () => {
  const root = join(stores[0]?.local ?? '', 'verify');
  const folder = await writeCheckpoint(root, 7);
  assert.equal((await verifyCheckpoint(folder, identity)).step, 7);
  await assert.rejects(verifyCheckpoint(folder, 'another'), { name: 'Damaged' });
  await assert.rejects(verifyCheckpoint(join(root, 'none'), identity), { name: 'Damaged' });
  await rm(join(folder, 'history.jsonl'));
  await assert.rejects(verifyCheckpoint(folder, identity), /history\.jsonl has no bytes, not 2/);
  await writeCheckpoint(root, 7);
  await writeFile(
    join(folder, 'manifest.json'),
    (await readFile(join(folder, 'manifest.json'), 'utf8')).replace('"step":7', '"step":8'),
  );
  await assert.rejects(verifyCheckpoint(folder, identity), /its manifest says step 8, its name says 7/);
});

/** The store's own methods, bound, so that a test can replace one. */
function methodsOf(store: Store): Store {
  return {
    url: store.url,
    get: (key) => store.get(key),
    put: (key, body) => store.put(key, body),
    putIfAbsent: (key, body) => store.putIfAbsent(key, body),
    upload: (key, file, transfer) => store.upload(key, file, transfer),
    download: (key, file, transfer) => store.download(key, file, transfer),
    list: (prefix) => store.list(prefix),
    delete: (keys) => store.delete(keys),
  };
}

function anHourLater(store: Store): Store {
  return {
    ...methodsOf(store),
    async *list(prefix) {
      for await (const info of store.list(prefix)) yield { ...info, modifiedMs: info.modifiedMs - 3600_001 };
    },
  };
}
