/** All of set-up, in order: what is there already costs a look, what is missing is made under one lock. */
import { buildBundle, bundleIsCurrent } from './bundle.mjs';
import { endPrograms, stopOnSignals } from './command.mjs';
import { lockHolder, takeLock } from './lock.mjs';
import { checkNode, installPackages, packagesAreCurrent } from './node.mjs';
import { checkNamedPython, cudaProblem, environmentIsCurrent, makeEnvironment } from './python.mjs';
import { SetupError, step } from './say.mjs';
import { findTemporal, installTemporal } from './temporal.mjs';

/** @typedef {{ title: string, isDone: () => boolean | Promise<boolean>, make: () => Promise<void> }} Part */

/**
 * @param {{ tests: boolean, out: NodeJS.WriteStream }} options  `tests` adds what only the tests need.
 */
export async function setUp({ tests, out }) {
  checkNode();
  const named = process.env.REVERIE_PYTHON;
  if (named) await checkNamedPython(named, { tests });
  const lanes = plan({ tests, out, named });

  const missing = await undone(lanes.flat());
  if (missing.length === 0) return;
  refuseUnderDemo();
  const release = lockOrExplain('setup', 'Another set-up');
  const restoreSignals = stopOnSignals();
  try {
    out.write(`Setting up: ${missing.map(({ title }) => title).join(', ')}\n`);
    await inParallel(lanes, (part) => step(out, part.title, part.make));
  } finally {
    restoreSignals();
    release();
  }
}

/**
 * Two lanes, since npm and pip wait for different things; in each, a part needs the one before it.
 *
 * @param {{ tests: boolean, out: NodeJS.WriteStream, named: string | undefined }} options
 * @returns {Part[][]}
 */
function plan({ tests, out, named }) {
  return [
    [
      { title: 'npm packages', isDone: () => packagesAreCurrent(), make: installPackages },
      { title: 'workflow bundle', isDone: bundleIsCurrent, make: buildBundle },
    ],
    [
      {
        title: 'Python environment with PyTorch and the trainer',
        isDone: () => Boolean(named) || environmentIsCurrent({ tests }),
        make: async () => {
          await makeEnvironment({ tests });
          const problem = await cudaProblem();
          if (problem !== null) out.write(`${problem}\n`);
        },
      },
      { title: 'Temporal CLI', isDone: async () => (await findTemporal()) !== null, make: installTemporal },
    ],
  ];
}

/** @param {Part[]} parts */
async function undone(parts) {
  const done = await Promise.all(parts.map(async ({ isDone }) => isDone()));
  return parts.filter((_, index) => !done[index]);
}

/**
 * The first failure ends the programs of the other lane, and is the one that is told.
 *
 * @param {Part[][]} lanes
 * @param {(part: Part) => Promise<void>} make
 */
async function inParallel(lanes, make) {
  /** @type {unknown[]} */
  const failures = [];
  await Promise.all(
    lanes.map(async (parts) => {
      for (const part of parts) {
        // Looked at once more: another set-up may have made it before the lock was ours.
        const isDone = await part.isDone();
        // Asked after the look, which a failure ends too: what a killed program did not tell is not missing.
        if (failures.length > 0) return;
        if (isDone) continue;
        try {
          await make(part);
        } catch (error) {
          failures.push(error);
          endPrograms('SIGTERM');
        }
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}

/** A demo's workers must not lose the packages that they run on. */
function refuseUnderDemo() {
  const demo = lockHolder('demo');
  if (demo !== null && demo.pid !== process.pid) throw isRunning('A demo', demo);
}

/**
 * @param {string} name
 * @param {string} what  Begins the message, as in "Another demo".
 */
export function lockOrExplain(name, what) {
  const lock = takeLock(name);
  if (lock.held) return lock.release;
  throw isRunning(what, lock.by);
}

/**
 * @param {string} what
 * @param {import('./lock.mjs').Holder} holder
 */
function isRunning(what, { pid, since }) {
  return new SetupError(
    `${what} is running in this clone: process ${pid}, since ${since}; expected one at a time; wait for it, stop it with \`kill ${pid}\`, or use a second clone.`,
  );
}
