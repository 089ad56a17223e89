/** What every store must do, whatever lies behind it. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { checkWritable, honoursConditionalWrites } from '../../../../activities/store/open-store.ts';
import type { Store } from '../../../../activities/store/store.ts';

export interface StoreUnderTest {
  store: Store;
  /** Whether putIfAbsent works, or is refused by name. */
  conditionalWrites: boolean;
}

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString());
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A transfer that counts, and may cancel itself past a number of bytes. */
export function countBytes(cancelAfter = Number.POSITIVE_INFINITY) {
  const controller = new AbortController();
  const counter = {
    bytes: 0,
    signal: controller.signal,
    onBytes(moved: number) {
      counter.bytes += moved;
      if (counter.bytes > cancelAfter) controller.abort(new Error('cancelled by test'));
    },
  };
  return counter;
}

async function keysUnder(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

export function storeSuite(open: () => Promise<StoreUnderTest>, skip: string | false): void {
  let store: Store;
  let conditionalWrites: boolean;
  let local: string;
  before(async () => {
    if (skip) return;
    ({ store, conditionalWrites } = await open());
    local = await mkdtemp(join(tmpdir(), 'reverie-local-'));
  });
  after(async () => {
    if (!skip) await rm(local, { recursive: true, force: true });
  });

  test('gives back what was put, and the newest of two', { skip }, async () => {
    assert.equal(await store.get('put/it.json'), null);
    await store.put('put/it.json', Buffer.from('one'));
    await store.put('put/it.json', Buffer.from('two'));
    assert.equal(text(await store.get('put/it.json')), 'two');
    await store.put('put/empty', new Uint8Array());
    assert.equal(text(await store.get('put/empty')), '');
  });

  test('puts only where nothing is, with one winner of eight, or says that it cannot', { skip }, async () => {
    const put = (n: number) => store.putIfAbsent('absent/record', Buffer.from(`${n}`));
    assert.equal(await honoursConditionalWrites(store), conditionalWrites);
    if (!conditionalWrites) {
      await assert.rejects(put(0), { name: 'ConditionalWritesUnsupported' });
      assert.equal(await store.get('absent/record'), null);
      return;
    }
    const won = await Promise.all(Array.from({ length: 8 }, (_, n) => put(n)));
    assert.equal(won.filter(Boolean).length, 1);
    assert.equal(text(await store.get('absent/record')), `${won.indexOf(true)}`);
  });

  test('lists 1,005 objects in order, with sizes, and nothing of a neighbour', { skip }, async () => {
    const names = Array.from({ length: 1005 }, (_, n) => `many/deep/${String(n).padStart(4, '0')}`);
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map((name) => store.put(name, Buffer.from(name.slice(-2)))));
    }
    await store.put('many-more/0', Buffer.from('x'));
    assert.deepEqual(await keysUnder(store, 'many/'), names);
    assert.deepEqual(await keysUnder(store, 'many/deep/000'), names.slice(0, 10));
    assert.deepEqual(await keysUnder(store, 'none/'), []);
    for await (const { size, modifiedMs } of store.list('many/deep/0000')) {
      assert.equal(size, 2);
      assert.ok(Math.abs(Date.now() - modifiedMs) < 120_000);
    }
    await store.delete(names);
    assert.deepEqual(await keysUnder(store, 'many'), ['many-more/0']);
  });

  test('lists by key, not folder by folder', { skip }, async () => {
    const names = ['order/a.txt', 'order/a/b', 'order/a0'];
    for (const name of [...names].reverse()) await store.put(name, Buffer.from('x'));
    assert.deepEqual(await keysUnder(store, 'order/'), names);
  });

  test('deletes what is there and does not mind what is not', { skip }, async () => {
    await store.put('gone/a', Buffer.from('a'));
    await store.delete(['gone/a', 'gone/b', 'never/c']);
    assert.equal(await store.get('gone/a'), null);
  });

  test('moves 40 MB up and down, hashed on the way, with its progress told', { skip }, async () => {
    const bytes = randomBytes(40 * 1024 * 1024);
    await writeFile(join(local, 'up'), bytes);
    const up = countBytes();
    const down = countBytes();
    const expected = { size: bytes.length, sha256: sha256(bytes) };
    assert.deepEqual(await store.upload('big/file', join(local, 'up'), up), expected);
    assert.deepEqual(await store.download('big/file', join(local, 'down'), down), expected);
    assert.deepEqual([up.bytes, down.bytes], [bytes.length, bytes.length]);
    assert.equal(sha256(await readFile(join(local, 'down'))), expected.sha256);
    assert.deepEqual((await readdir(local)).sort(), ['down', 'up']);
  });

  test('moves an empty file', { skip }, async () => {
    await writeFile(join(local, 'empty'), '');
    const expected = { size: 0, sha256: sha256(Buffer.alloc(0)) };
    assert.deepEqual(await store.upload('empty/file', join(local, 'empty')), expected);
    assert.deepEqual(await store.download('empty/file', join(local, 'empty-down')), expected);
  });

  test('a download of nothing is null and leaves no file', { skip }, async () => {
    assert.equal(await store.download('no/such', join(local, 'no-such')), null);
    assert.ok(!(await readdir(local)).some((name) => name.startsWith('no-such')));
  });

  test('a cancelled upload leaves no object, a cancelled download no file', { skip }, async () => {
    await writeFile(join(local, 'large'), randomBytes(30 * 1024 * 1024));
    await assert.rejects(store.upload('cancelled/file', join(local, 'large'), countBytes(0)), /cancelled by test/);
    assert.deepEqual(await keysUnder(store, 'cancelled/'), []);
    await store.upload('whole/file', join(local, 'large'));
    await assert.rejects(store.download('whole/file', join(local, 'cut'), countBytes(0)), /cancelled by test/);
    assert.ok(!(await readdir(local)).includes('cut'));
  });

  test('refuses keys that lead out of it', { skip }, async () => {
    for (const key of ['../up', 'a/../../b', '/root', 'a//b', 'a/', '', 'a\\..\\b']) {
      await assert.rejects(store.put(key, Buffer.from('x')), TypeError, key);
      await assert.rejects(store.get(key), TypeError, key);
    }
    await assert.rejects(keysUnder(store, '../'), TypeError);
  });

  test('an upload of a file that is missing is no fault of the store', { skip }, async () => {
    await assert.rejects(store.upload('a/b', join(local, 'missing')), { code: 'ENOENT' });
  });

  test('is found writable, and the probe leaves nothing', { skip }, async () => {
    await checkWritable(store);
    assert.deepEqual(await keysUnder(store, '.probe'), []);
  });
}
