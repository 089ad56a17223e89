/** Goldens: histories of runs as JSON beside this file, in the form in which Temporal's CLI and UI download them. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

type History = Parameters<typeof historyToJSON>[0];

export async function goldenNames(): Promise<string[]> {
  const files = await readdir(import.meta.dirname);
  return files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length));
}

export async function readGolden(name: string): Promise<unknown> {
  return JSON.parse(await readFile(fileOf(name), 'utf8'));
}

/** Throws EEXIST where there is one: a golden is never recorded again. */
export async function writeGolden(name: string, history: History): Promise<string> {
  const plain: unknown = JSON.parse(historyToJSON(history), anonymous);
  await writeFile(fileOf(name), `${JSON.stringify(plain, null, 1)}\n`, { flag: 'wx' });
  return fileOf(name);
}

const fileOf = (name: string): string => join(import.meta.dirname, `${name}.json`);

/** Replay reads neither where a run was recorded nor the paths in its stack traces. */
function anonymous(this: unknown, key: string, value: unknown): unknown {
  if (key === 'stackTrace') return undefined;
  // Of workers and clients, and of the queues that are named after them.
  return typeof value === 'string' && /^\d+@/.test(value) ? 'recorded' : value;
}
