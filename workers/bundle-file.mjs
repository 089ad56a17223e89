/**
 * The workflow bundle's file, and beside it a stamp of the sources that it was made from. Node's built-ins only: set-up
 * looks here before there are packages.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const SOURCE_FOLDERS = ['workflows', 'contracts'];
const OTHER_SOURCES = [join('workers', 'bundle.ts'), 'package-lock.json'];

export const bundleFile = join(root, '.reverie', 'workflow-bundle.js');
export const stampFile = `${bundleFile}.stamp`;

/**
 * `stale` where the sources are others than those that it was made from, or nobody wrote down which.
 *
 * @returns {'current' | 'stale' | 'missing'}
 */
export function bundleState() {
  if (!existsSync(bundleFile)) return 'missing';
  const current = existsSync(stampFile) && readFileSync(stampFile, 'utf8') === sourceStamp();
  return current ? 'current' : 'stale';
}

/** Changes when any source does. */
export function sourceStamp() {
  const hash = createHash('sha256');
  for (const file of [...SOURCE_FOLDERS.flatMap(typescriptIn), ...OTHER_SOURCES].sort())
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

/** @param {string} folder */
function typescriptIn(folder) {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}
