/** Artifacts over both kinds of store: whole or rebuilt, never in between. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Artifacts } from '../../../../activities/store/artifacts.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import type { Store } from '../../../../activities/store/store.ts';
import type { ReverieFailure } from '../../../../contracts/failures.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { withoutRclone } from '../../../fixtures/rclone.ts';
import { openStores } from './stores.ts';

test('artifacts are tested on S3 too', { skip: withoutRclone }, () => {});

for (const { kind, store, local } of await openStores()) {
  let number = 0;
  /** A new key, an empty cache and a folder with two files. */
  const setUp = async () => {
    number += 1;
    const key = sha256(`artifact ${number}`);
    const damaged: string[] = [];
    const artifacts = new Artifacts(store, join(local, `cache-${number}`), (_, reason) => damaged.push(reason));
    const dir = join(local, `dir-${number}`);
    await write(join(dir, 'train.parquet'), 'training rows');
    await write(join(dir, 'model/config.json'), '{}');
    const object = objectsUnder(store, `artifacts/filter/${key}/`);
    return { key, artifacts, damaged, dir, object, cache: join(local, `cache-${number}`) };
  };

  test(`${kind}: what was committed is found and fetched, with its summary`, async () => {
    const { key, artifacts, dir } = await setUp();
    assert.equal(await artifacts.lookUp('filter', key), null);
    const manifest = await artifacts.commit('filter', key, dir, { kept: 2 });
    assert.deepEqual(await artifacts.lookUp('filter', key), manifest);
    assert.deepEqual(manifest.summary, { kept: 2 });
    assert.deepEqual(
      manifest.files.map(({ path, size }) => [path, size]),
      [
        ['model/config.json', 2],
        ['train.parquet', 13],
      ],
    );
    const folder = await artifacts.fetch(artifacts.ref(manifest));
    assert.equal(await readFile(join(folder, 'model/config.json'), 'utf8'), '{}');
    assert.equal(await artifacts.fetch(artifacts.ref(manifest)), folder);
  });

  test(`${kind}: the digest depends on content alone`, async () => {
    const [a, b] = [await setUp(), await setUp()];
    const first = await a.artifacts.commit('filter', a.key, a.dir, { kept: 2 });
    const second = await b.artifacts.commit('filter', b.key, b.dir, { kept: 3 });
    assert.equal(first.digest, second.digest);
    const c = await setUp();
    await write(join(c.dir, 'train.parquet'), 'other rows');
    assert.notEqual((await c.artifacts.commit('filter', c.key, c.dir, null)).digest, first.digest);
  });

  const damages: [string, (object: Objects) => Promise<void>, RegExp][] = [
    ['a flipped byte', (object) => object.write('train.parquet', 'training r0ws'), /does not have its SHA-256/],
    ['a cut file', (object) => object.write('train.parquet', 'train'), /has 5 bytes, not 13/],
    ['a file that is gone', (object) => object.remove('model/config.json'), /model\/config\.json is missing/],
    [
      'a manifest that is cut',
      (object) => object.edit('manifest.json', (text) => text.slice(0, text.length / 2)),
      /manifest is not JSON/,
    ],
    [
      'a manifest of another artifact',
      (object) => object.edit('manifest.json', (text) => text.replace('"stage":"filter"', '"stage":"convert"')),
      /belongs to another artifact/,
    ],
    [
      'a manifest with another hash',
      (object) => object.edit('manifest.json', (text) => text.replace(sha256('training rows'), sha256('x'))),
      /digest does not match/,
    ],
    [
      'a manifest that leads out of its folder',
      (object) => object.edit('manifest.json', (text) => text.replace('"train.parquet"', '"../../../etc/passwd"')),
      /manifest is invalid at files\.1\.path/,
    ],
  ];
  for (const [title, damage, reason] of damages) {
    test(`${kind}: ${title} is no artifact, and is rebuilt by the next commit`, async () => {
      const { key, artifacts, damaged, dir, object } = await setUp();
      const manifest = await artifacts.commit('filter', key, dir, { kept: 2 });
      await damage(object);
      assert.equal(await artifacts.lookUp('filter', key), null);
      assert.match(damaged[0] ?? '', reason);
      const rebuilt = await artifacts.commit('filter', key, dir, { kept: 2 });
      assert.equal(rebuilt.digest, manifest.digest);
      assert.ok(await artifacts.lookUp('filter', key));
    });

    test(`${kind}: ${title} is not fetched; its manifest goes, so that it is rebuilt`, async () => {
      const { key, artifacts, dir, object } = await setUp();
      const manifest = await artifacts.commit('filter', key, dir, { kept: 2 });
      await damage(object);
      await assert.rejects(artifacts.fetch(artifacts.ref(manifest)), (error: ReverieFailure) => {
        assert.equal(error.type, 'ArtifactMissing');
        assert.match(error.message, new RegExp(`artifacts/filter/${key}.*expected .*start the run again`));
        return true;
      });
      assert.equal(await object.read('manifest.json'), null);
    });
  }

  test(`${kind}: an artifact whose manifest is missing is none`, async () => {
    const { key, artifacts, dir, object } = await setUp();
    const manifest = await artifacts.commit('filter', key, dir, null);
    await object.remove('manifest.json');
    assert.equal(await artifacts.lookUp('filter', key), null);
    await assert.rejects(artifacts.fetch(artifacts.ref(manifest)), { type: 'ArtifactMissing' });
  });

  test(`${kind}: a local copy that was altered is fetched again, one that is whole is not`, async () => {
    const { key, artifacts, dir, object } = await setUp();
    const manifest = await artifacts.commit('filter', key, dir, null);
    const folder = await artifacts.fetch(artifacts.ref(manifest));
    await writeFile(join(folder, 'train.parquet'), 'training r0ws');
    await artifacts.fetch(artifacts.ref(manifest));
    assert.equal(await readFile(join(folder, 'train.parquet'), 'utf8'), 'training rows');
    for (const path of ['manifest.json', 'train.parquet', 'model/config.json']) await object.remove(path);
    assert.equal(await artifacts.fetch(artifacts.ref(manifest)), folder);
  });

  test(`${kind}: fetches only the files that are asked for, and the rest later`, async () => {
    const { key, artifacts, dir } = await setUp();
    const manifest = await artifacts.commit('filter', key, dir, null);
    const folder = await artifacts.fetch(artifacts.ref(manifest), {}, (path) => path.endsWith('.json'));
    await assert.rejects(stat(join(folder, 'train.parquet')), { code: 'ENOENT' });
    await artifacts.fetch(artifacts.ref(manifest));
    assert.equal(await readFile(join(folder, 'train.parquet'), 'utf8'), 'training rows');
  });

  test(`${kind}: four fetches at once on one host end with one whole copy`, async () => {
    const { key, artifacts, dir, cache } = await setUp();
    await write(join(dir, 'large'), 'x'.repeat(3_000_000));
    const manifest = await artifacts.commit('filter', key, dir, null);
    const folders = await Promise.all([0, 1, 2, 3].map(() => artifacts.fetch(artifacts.ref(manifest))));
    assert.equal(new Set(folders).size, 1);
    assert.equal((await stat(join(folders[0] ?? '', 'large'))).size, 3_000_000);
    const left = await readdir(join(cache, 'scratch'), { recursive: true, withFileTypes: true });
    assert.deepEqual(
      left.filter((entry) => entry.isFile()),
      [],
    );
  });

  test(`${kind}: of two commits of one key the first stands, and both callers name it`, async () => {
    const { key, artifacts, dir } = await setUp();
    const first = await artifacts.commit('filter', key, dir, { by: 'first' });
    await write(join(dir, 'train.parquet'), 'rows made on another machine');
    assert.deepEqual(await artifacts.commit('filter', key, dir, { by: 'second' }), first);
  });

  test(`${kind}: the host that made an artifact keeps it without a download`, async () => {
    const { key, artifacts, dir, object } = await setUp();
    const manifest = await artifacts.commit('filter', key, dir, null);
    await artifacts.keep(manifest, dir);
    await object.remove('train.parquet');
    const folder = await artifacts.fetch(artifacts.ref(manifest));
    assert.equal(await readFile(join(folder, 'train.parquet'), 'utf8'), 'training rows');
  });

  test(`${kind}: links are followed into the store, but not kept as a copy`, async () => {
    const { key, artifacts, dir, cache } = await setUp();
    await write(join(local, 'elsewhere'), 'weights');
    await symlink(join(local, 'elsewhere'), join(dir, 'model.safetensors'));
    const manifest = await artifacts.commit('filter', key, dir, null);
    assert.equal(manifest.files.find(({ path }) => path === 'model.safetensors')?.sha256, sha256('weights'));
    await artifacts.keep(manifest, dir);
    await assert.rejects(stat(join(cache, 'artifacts')), { code: 'ENOENT' });
  });

  test(`${kind}: a store that fails is not taken for a damaged artifact`, async () => {
    const { key, artifacts, dir } = await setUp();
    await artifacts.commit('filter', key, dir, null);
    const broken = new FileStore('/dev/null');
    const failing = {
      url: store.url,
      get: (name: string) => store.get(name),
      list: (prefix: string) => broken.list(prefix),
    };
    await assert.rejects(new Artifacts(failing as Store, local).lookUp('filter', key), { type: 'StoreUnavailable' });
  });
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

type Objects = ReturnType<typeof objectsUnder>;

/** What a bad disk or a stranger could do to the objects of an artifact. */
function objectsUnder(store: Store, prefix: string) {
  const read = async (path: string) => {
    const bytes = await store.get(prefix + path);
    return bytes && Buffer.from(bytes).toString('utf8');
  };
  const write = (path: string, text: string) => store.put(prefix + path, Buffer.from(text));
  return {
    read,
    write,
    remove: (path: string) => store.delete([prefix + path]),
    async edit(path: string, change: (text: string) => string) {
      const before = (await read(path)) ?? '';
      const after = change(before);
      assert.notEqual(after, before);
      await write(path, after);
    },
  };
}
