/** Where set-up puts things in a clone. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
export const stateDir = join(root, '.reverie');

/** The Python environment that set-up makes; REVERIE_PYTHON names another interpreter in its place. */
export const ownPython = join(stateDir, 'python', 'bin', 'python');

/**
 * Changes when any of the files or words does.
 *
 * @param {readonly string[]} files
 * @param {readonly string[]} [words]
 */
export function stampOf(files, words = []) {
  const hash = createHash('sha256');
  for (const word of words) hash.update(`${word}\0`);
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

/** @param {string} file */
export function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
