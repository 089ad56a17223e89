/** Ways in which a stored checkpoint can be broken, for folders and buckets alike. */
import type { Store } from '../../activities/store/store.ts';
import type { CheckpointManifest } from '../../contracts/trainer.ts';
import type { Random } from './random.ts';

export const damages = ['truncated', 'flipped-bit', 'missing-shard', 'missing-manifest', 'foreign-manifest'] as const;
export type Damage = (typeof damages)[number];

/** `prefix` is the checkpoint's folder, with a slash at its end. Returns what was done to which file. */
export async function breakCheckpoint(store: Store, prefix: string, damage: Damage, random: Random): Promise<string> {
  const manifestKey = `${prefix}manifest.json`;
  const manifest = JSON.parse((await read(store, manifestKey)).toString()) as CheckpointManifest;
  const { path } = random.pick(manifest.files);
  switch (damage) {
    case 'truncated': {
      const bytes = await read(store, prefix + path);
      const length = random.integer(0, bytes.length - 1);
      await store.put(prefix + path, bytes.subarray(0, length));
      return `${path} cut to ${length} bytes`;
    }
    case 'flipped-bit': {
      const bytes = await read(store, prefix + path);
      const bit = random.integer(0, bytes.length * 8 - 1);
      const at = bit >> 3;
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (bit & 7)), at);
      await store.put(prefix + path, bytes);
      return `bit ${bit} of ${path} flipped`;
    }
    case 'missing-shard':
      await store.delete([prefix + path]);
      return `${path} deleted`;
    case 'missing-manifest':
      await store.delete([manifestKey]);
      return 'manifest deleted';
    case 'foreign-manifest': {
      const foreign = { ...manifest, identity: [...manifest.identity].reverse().join('') };
      await store.put(manifestKey, Buffer.from(JSON.stringify(foreign)));
      return 'manifest of another training';
    }
  }
}

async function read(store: Store, key: string): Promise<Buffer> {
  const bytes = await store.get(key);
  if (bytes === null) throw new Error(`no ${key} in ${store.url}; expected it there to be damaged`);
  return Buffer.from(bytes);
}
