/**
 * Finished evaluation shards in the store: `eval-shards/<eval key>/<name>.<sha256>.jsonl`. The hash in the name makes
 * a shard its own manifest: one that does not match its bytes is no shard.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hashBytes } from './hashing.ts';
import { checkedKey } from './keys.ts';
import type { Store, Transfer } from './store.ts';

export class EvalShards {
  readonly #store: Store;
  readonly #root: string;

  constructor(store: Store, evalKey: string) {
    this.#store = store;
    this.#root = `eval-shards/${checkedKey(evalKey)}/`;
  }

  /** `name` without folder and ending, such as `00003`. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    if (!/^\w+$/.test(name)) throw new TypeError(`shard name ${JSON.stringify(name)}; expected letters and digits`);
    await this.#store.put(`${this.#root}${name}.${await hashBytes(bytes)}.jsonl`, bytes);
  }

  /** Names of what is there, in order; whole or not. */
  async list(): Promise<string[]> {
    return [...new Set((await this.#objects()).map(({ name }) => name))];
  }

  /** Null when there is none, or none whose bytes match. */
  async get(name: string): Promise<Uint8Array | null> {
    for (const object of await this.#objects(`${name}.`)) {
      const bytes = object.name === name ? await this.#store.get(object.key) : null;
      if (bytes && (await hashBytes(bytes)) === object.sha256) return bytes;
    }
    return null;
  }

  /** Writes every whole shard to `<folder>/<name>.jsonl`, where the trainer keeps what it finds. Returns their names. */
  async restore(folder: string, { signal, onBytes }: Transfer = {}): Promise<string[]> {
    await mkdir(folder, { recursive: true });
    const restored: string[] = [];
    for (const name of await this.list()) {
      signal?.throwIfAborted();
      const bytes = await this.get(name);
      if (bytes === null) continue;
      // The trainer takes a name for a finished shard: it must not see half of one.
      await writeFile(join(folder, `.${name}.incoming`), bytes);
      await rename(join(folder, `.${name}.incoming`), join(folder, `${name}.jsonl`));
      restored.push(name);
      onBytes?.(bytes.length);
    }
    return restored;
  }

  /** Once the evaluation's artifact is committed. */
  async clear(): Promise<void> {
    await this.#store.delete((await this.#objects()).map(({ key }) => key));
  }

  async #objects(prefix = ''): Promise<{ key: string; name: string; sha256: string }[]> {
    const objects = [];
    for await (const { key } of this.#store.list(this.#root + prefix)) {
      const [, name, sha256] = /^(\w+)\.([0-9a-f]{64})\.jsonl$/.exec(key.slice(this.#root.length)) ?? [];
      if (name && sha256) objects.push({ key, name, sha256 });
    }
    return objects;
  }
}
