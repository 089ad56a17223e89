/** The folder store: the shared suite, and what only a folder can get wrong. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FileStore } from '../../../../activities/store/file-store.ts';
import { checkWritable, openStore } from '../../../../activities/store/open-store.ts';
import type { ReverieFailure } from '../../../../contracts/failures.ts';
import { storeSuite } from './store-suite.ts';

const root = await mkdtemp(join(tmpdir(), 'reverie-file-store-'));
after(() => rm(root, { recursive: true, force: true }));

storeSuite(async () => ({ store: openStore(`file://${root}/suite`), conditionalWrites: true }), false);

test('a file in place of the folder is named, with what to do', async () => {
  await writeFile(join(root, 'a-file'), '');
  await assert.rejects(checkWritable(new FileStore(join(root, 'a-file'))), (error: ReverieFailure) => {
    assert.equal(error.type, 'StoreUnavailable');
    assert.match(error.message, /a-file failed to put .*expected a folder .*move it away or set REVERIE_STORE/);
    return true;
  });
});

test('deletes beside puts in the same folder harm none of them', async () => {
  const store = new FileStore(join(root, 'race'));
  const lane = async (n: number) => {
    for (let round = 0; round < 30; round += 1) {
      await store.put(`deep/er/${n}`, Buffer.from('x'));
      assert.ok(await store.get(`deep/er/${n}`));
      await store.delete([`deep/er/${n}`]);
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, n) => lane(n)));
});

test('empty folders go with their last object; unfinished writes are swept after a day', async () => {
  const folder = join(root, 'sweep');
  await mkdir(join(folder, '.partial'), { recursive: true });
  const yesterday = new Date(Date.now() - 25 * 3600 * 1000);
  await writeFile(join(folder, '.partial/dead'), '');
  await utimes(join(folder, '.partial/dead'), yesterday, yesterday);
  await writeFile(join(folder, '.partial/alive'), '');
  const store = new FileStore(folder);
  await store.put('a/b/c', Buffer.from('c'));
  assert.deepEqual(await readdir(join(folder, '.partial')), ['alive']);
  await store.delete(['a/b/c']);
  assert.deepEqual(await readdir(folder), ['.partial']);
});

test('an address of no known form is refused with the forms that are', () => {
  for (const url of ['', 'store', 'http://host/bucket', 's3://', 's3://bucket/../up', 's3://bucket//x']) {
    assert.throws(() => openStore(url), /expected file:\/\/\/folder, an absolute folder, or s3:/, url);
  }
  assert.equal(openStore('s3://bucket/a/b/').url, 's3://bucket/a/b');
  assert.equal(openStore('s3://bucket').url, 's3://bucket');
  assert.equal(openStore('/tmp/x').url, 'file:///tmp/x');
});
