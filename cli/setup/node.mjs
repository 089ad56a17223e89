/** Node itself, and the npm packages that package-lock.json names. */
import { join } from 'node:path';
import { command } from './command.mjs';
import { readIfThere, root } from './paths.mjs';
import { SetupError } from './say.mjs';

const NEEDED_MAJOR = 20;
const NEEDED_MINOR = 19;

/** @param {string} [version] */
export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NEEDED_MAJOR || (major === NEEDED_MAJOR && minor >= NEEDED_MINOR)) return;
  throw new SetupError(
    `Node.js is ${version}; expected ${NEEDED_MAJOR}.${NEEDED_MINOR} or later; install a newer one (20, 22 and 24 are tested) and run the command again.`,
  );
}

/**
 * Whether node_modules holds what the lock names, by npm's own record, which npm writes when an installation is
 * complete. Optional packages are for other platforms.
 *
 * @param {string} [dir]
 */
export function packagesAreCurrent(dir = root) {
  const wanted = packagesOf(join(dir, 'package-lock.json'));
  const installed = packagesOf(join(dir, 'node_modules', '.package-lock.json'));
  return Object.entries(wanted).every(
    ([path, { optional, version, integrity }]) =>
      path === '' ||
      optional === true ||
      (installed[path]?.version === version && installed[path]?.integrity === integrity),
  );
}

export async function installPackages() {
  await command('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    advice: 'check that npm reaches its registry and that the disk has 1 GB free, then run the command again',
  });
}

/**
 * @param {string} lockFile
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean }>}
 */
function packagesOf(lockFile) {
  const text = readIfThere(lockFile);
  return text === null ? {} : JSON.parse(text).packages;
}
