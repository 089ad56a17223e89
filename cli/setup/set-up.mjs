/** All of set-up, in order: what is there already costs a look, what is missing is made under one lock. */
import { buildBundle, bundleIsCurrent } from './bundle.mjs';
import { stopOnSignals } from './command.mjs';
import { lockHolder, takeLock } from './lock.mjs';
import { checkNode, installPackages, packagesAreCurrent } from './node.mjs';
import { checkNamedPython, cudaProblem, environmentIsCurrent, makeEnvironment } from './python.mjs';
import { SetupError, step } from './say.mjs';
import { findTemporal, installTemporal } from './temporal.mjs';

/**
 * @param {{ tests: boolean, out: NodeJS.WriteStream }} options  `tests` adds what only the tests need.
 */
export async function setUp({ tests, out }) {
  checkNode();
  const named = process.env.REVERIE_PYTHON;
  if (named) await checkNamedPython(named, { tests });

  /** @type {{ title: string, isDone: () => boolean | Promise<boolean>, make: () => Promise<void> }[]} */
  const parts = [
    { title: 'npm packages', isDone: () => packagesAreCurrent(), make: installPackages },
    {
      title: 'Python environment with PyTorch and the trainer',
      isDone: () => named !== undefined || environmentIsCurrent({ tests }),
      make: async () => {
        await makeEnvironment({ tests });
        const problem = await cudaProblem();
        if (problem !== null) out.write(`\n${problem}\n`);
      },
    },
    { title: 'Temporal CLI', isDone: async () => (await findTemporal()) !== null, make: installTemporal },
    { title: 'workflow bundle', isDone: bundleIsCurrent, make: buildBundle },
  ];

  /** @type {(() => void) | undefined} */
  let release;
  const restoreSignals = stopOnSignals();
  try {
    for (const { title, isDone, make } of parts) {
      if (await isDone()) continue;
      if (release === undefined) {
        refuseUnderDemo();
        release = lockOrExplain('setup', 'Another set-up');
        if (await isDone()) continue; // Made by the other meanwhile.
      }
      await step(out, title, make);
    }
  } finally {
    release?.();
    restoreSignals();
  }
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
