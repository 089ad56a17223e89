/** One holder at a time of a named lock in `.reverie/`: a file that names its process, taken over when that is dead. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stateDir } from './paths.mjs';

/** @typedef {{ pid: number, birth: string | null, since: string }} Holder */

/**
 * Takes the lock, until this process ends or `release` is called.
 *
 * @param {string} name
 * @param {string} [dir]
 * @returns {{ held: true, release: () => void } | { held: false, by: Holder }}
 */
export function takeLock(name, dir = stateDir) {
  mkdirSync(dir, { recursive: true });
  const file = join(dir, `${name}.lock`);
  const mine = `${file}.${process.pid}`;
  const text = JSON.stringify({ pid: process.pid, birth: birthOf(process.pid), since: new Date().toISOString() });
  for (;;) {
    // Written beside it and linked: the lock never exists half written, and only one link succeeds.
    writeFileSync(mine, text);
    try {
      linkSync(mine, file);
      break;
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    } finally {
      rmSync(mine, { force: true });
    }
    const found = read(file);
    if (found === null) continue;
    if (found.holder !== null && isAlive(found.holder)) return { held: false, by: found.holder };
    setAside(file, found.text);
  }
  const release = () => {
    process.off('exit', release);
    if (read(file)?.text === text) rmSync(file, { force: true });
  };
  process.on('exit', release);
  return { held: true, release };
}

/**
 * Who holds the lock now, if anyone does.
 *
 * @param {string} name
 * @param {string} [dir]
 * @returns {Holder | null}
 */
export function lockHolder(name, dir = stateDir) {
  const holder = read(join(dir, `${name}.lock`))?.holder ?? null;
  return holder !== null && isAlive(holder) ? holder : null;
}

/** @param {string} file */
function read(file) {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  try {
    return { text, holder: /** @type {Holder} */ (JSON.parse(text)) };
  } catch {
    return { text, holder: null };
  }
}

/**
 * Two processes may both find a dead holder: the slower must not remove the lock that the faster took meanwhile.
 *
 * @param {string} file
 * @param {string} staleText
 */
function setAside(file, staleText) {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
  } catch {
    return; // The other was faster.
  }
  try {
    if (readFileSync(aside, 'utf8') !== staleText) linkSync(aside, file);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** @param {Holder} holder */
function isAlive({ pid, birth }) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EPERM') return false;
  }
  return birth === null || birth === birthOf(pid);
}

/**
 * When the process started, in the kernel's ticks: tells a process from a later one of the same number. Null where
 * there is no /proc.
 *
 * @param {number} pid
 */
function birthOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
