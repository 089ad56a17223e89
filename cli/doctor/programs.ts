/** The programs that a run needs on this host: Node and its packages, the Temporal CLI, Python, PyTorch and its GPUs. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { listGpus } from '../../workers/gpus.ts';
import { bundleIsCurrent } from '../setup/bundle.mjs';
import { checkNode, packagesAreCurrent } from '../setup/node.mjs';
import { root } from '../setup/paths.mjs';
import { findTemporal } from '../setup/temporal.mjs';
import { trainerPath } from '../trainer-path.ts';
import { type Check, fail, firstLine, ok, warn } from './check.ts';

const SET_UP = 'run `node cli/bootstrap.mjs setup`';
const TRAINER_ANSWERS_WITHIN_MS = 120_000;
const GIB = 2 ** 30;

export function checkNodeAndPackages(): Check[] {
  const checks: Check[] = [];
  try {
    checkNode();
    checks.push(ok('Node.js', process.versions.node));
  } catch (error) {
    checks.push(fail('Node.js', process.versions.node, firstLine(error)));
  }
  const sdk = `Temporal SDK ${sdkVersion()}`;
  checks.push(
    packagesAreCurrent()
      ? ok('npm packages', sdk)
      : warn('npm packages', `${sdk}, not as package-lock.json has them`, SET_UP),
  );
  checks.push(
    bundleIsCurrent()
      ? ok('workflow bundle', 'current')
      : warn('workflow bundle', 'missing or older than its sources', SET_UP),
  );
  return checks;
}

function sdkVersion(): string {
  const file = createRequire(join(root, 'package.json')).resolve('@temporalio/worker/package.json');
  return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(file, 'utf8'))).version;
}

/** Only for starting a server and for the commands that messages advise: a worker does without it. */
export async function checkTemporalCli(): Promise<Check> {
  const path = await findTemporal();
  if (path === null) return warn('Temporal CLI', 'not there, or older than 1.7', SET_UP);
  const { stdout } = await execa(path, ['--version']);
  return ok('Temporal CLI', `${stdout.trim()} at ${path}`);
}

/** As `dream_trainer doctor --json` writes it. */
const answerSchema = z.object({
  python: z.string(),
  torch: z.string(),
  transformers: z.string().nullable(),
  cudaVersion: z.string().nullable(),
  gpus: z.array(z.object({ name: z.string(), memoryBytes: z.number(), product: z.string() })),
  cpu: z.object({ product: z.string() }),
});
type Answer = z.infer<typeof answerSchema>;

export async function checkTrainer(python: string): Promise<Check[]> {
  const result = await execa(python, ['-m', 'dream_trainer', 'doctor', '--json'], {
    reject: false,
    stdin: 'ignore',
    timeout: TRAINER_ANSWERS_WITHIN_MS,
    env: trainerPath(),
  });
  const answer = answerSchema.safeParse(parseJson(result.stdout));
  if (!answer.success) {
    const why = result.stderr?.trim().split('\n').at(-1) || result.shortMessage || 'no answer';
    return [fail('trainer', `${python} does not run it: ${why}`, `${SET_UP}, or correct REVERIE_PYTHON`)];
  }
  const { python: version, torch, transformers, cudaVersion } = answer.data;
  return [
    ok('Python', `${version} at ${python}`),
    ok('PyTorch', `${torch}, ${cudaVersion === null ? 'CPU' : `CUDA ${cudaVersion}`}`),
    ok('transformers', transformers ?? 'not installed, and not needed'),
    ...(await checkDevices(answer.data)),
  ];
}

async function checkDevices({ gpus, cpu, cudaVersion }: Answer): Promise<Check[]> {
  const checks: Check[] = [];
  if (cpu.product !== 'right') {
    checks.push(fail('CPU', `a product of matrices is ${cpu.product}`, 'take this host out of service'));
  }
  if (gpus.length === 0) checks.push(await checkThatNoneIsLost(cudaVersion));
  const models = [...new Set(gpus.map(({ name }) => name))];
  if (models.length > 1) {
    checks.push(
      warn(
        'GPUs',
        `${models.join(' and ')}, which do not train together`,
        'run a worker for each, by CUDA_VISIBLE_DEVICES',
      ),
    );
  }
  for (const [index, { name, memoryBytes, product }] of gpus.entries()) {
    const line = `GPU ${index} of ${gpus.length}`;
    const found = `${name}, ${(memoryBytes / GIB).toFixed(1)} GiB`;
    checks.push(
      product === 'right'
        ? ok(line, found)
        : fail(line, `${found}: a product of matrices is ${product}`, 'take this GPU out of service'),
    );
  }
  return checks;
}

/** The trainer refuses a CPU where its PyTorch is one for CUDA and nvidia-smi lists a GPU; one for CPUs goes on there. */
async function checkThatNoneIsLost(cudaVersion: string | null): Promise<Check> {
  const listed = await listGpus();
  if (listed.length === 0) return warn('GPUs', 'none', 'enough for the demo; Dream 7B needs a host with CUDA');
  return (cudaVersion === null ? warn : fail)(
    'GPUs',
    `${listed.map(({ name }) => name).join(', ')}, which this PyTorch cannot use`,
    'look at `nvidia-smi`, update the driver, or name an environment whose PyTorch fits it in REVERIE_PYTHON',
  );
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}
