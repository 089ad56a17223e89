/** Finished evaluation shards over both kinds of store. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { EvalShards } from '../../../../activities/store/shards.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { openStores } from './stores.ts';

for (const { kind, store, local } of await openStores()) {
  test(`${kind}: whole shards come back into the folder, damaged ones do not, and others' are not seen`, async () => {
    const shards = new EvalShards(store, 'k1');
    await new EvalShards(store, 'k2').put('00009', Buffer.from('other'));
    for (const name of ['00000', '00001', '00010']) await shards.put(name, Buffer.from(`shard ${name}\n`));
    await store.put(`eval-shards/k1/00001.${sha256('shard 00001\n')}.jsonl`, Buffer.from('shard 0'));
    assert.deepEqual(await shards.list(), ['00000', '00001', '00010']);
    assert.equal(await shards.get('00001'), null);
    assert.equal(await shards.get('0'), null);
    const folder = join(local, 'shards');
    assert.deepEqual(await shards.restore(folder), ['00000', '00010']);
    assert.deepEqual((await readdir(folder)).sort(), ['00000.jsonl', '00010.jsonl']);
    assert.equal(await readFile(join(folder, '00010.jsonl'), 'utf8'), 'shard 00010\n');
    await shards.put('00001', Buffer.from('shard 00001 anew\n'));
    assert.equal(Buffer.from((await shards.get('00001')) ?? []).toString(), 'shard 00001 anew\n');
    await shards.clear();
    assert.deepEqual(await shards.list(), []);
    assert.deepEqual(await new EvalShards(store, 'k2').list(), ['00009']);
  });
}
