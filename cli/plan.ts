/** `reverie plan [SPEC]`: what a run spec would do. Nothing is started, and nothing but caches is written. */
import { Artifacts } from '../activities/store/artifacts.ts';
import { openStore } from '../activities/store/open-store.ts';
import { rejected } from '../contracts/failures.ts';
import { parseRunSpec } from '../contracts/spec-problems.ts';
import { readEnvironment } from '../workers/environment.ts';
import { listGpus } from '../workers/gpus.ts';
import type { GpuChoice } from './plan/memory-plan.ts';
import { renderPlan } from './plan/render-plan.ts';
import { planRun } from './plan/run-plan.ts';
import { readSpecFile } from './spec-file.ts';

export interface PlanOptions {
  file: string | null;
  json: boolean;
  /** GPUs to plan for; null is those of this host. */
  gpus: number | null;
  gpuMemoryGib: number | null;
  signal: AbortSignal;
  out?: NodeJS.WritableStream & { isTTY?: boolean };
}

/** Returns the exit code: 2 when a Hub or a store could not be reached, and the plan has gaps. */
export async function plan({ file, json, out = process.stdout, signal, ...asked }: PlanOptions): Promise<0 | 2> {
  const parsed = parseRunSpec(await readSpecFile(file));
  if (!parsed.ok) throw rejected('InvalidSpec', ...parsed.problems);
  const { storeUrl, cacheDir, hub, python } = readEnvironment();
  const artifacts = new Artifacts(openStore(storeUrl), cacheDir);
  const gpus = await chooseGpus(asked);
  const made = await planRun({ spec: parsed.spec, deps: { artifacts, cacheDir, hub }, gpus, python, signal });
  out.write(json ? `${JSON.stringify(made)}\n` : renderPlan(made, out.isTTY ?? false));
  return made.gaps.length === 0 ? 0 : 2;
}

/** What is named holds; the rest is as on this host. */
async function chooseGpus({ gpus, gpuMemoryGib }: Pick<PlanOptions, 'gpus' | 'gpuMemoryGib'>): Promise<GpuChoice> {
  if (gpus !== null && gpuMemoryGib !== null) return { count: gpus, memoryGib: gpuMemoryGib, from: 'options' };
  const here = (await listGpus()).flatMap(({ name, memoryGib }) => (memoryGib === null ? [] : [{ name, memoryGib }]));
  // The smallest one decides: every rank holds the same.
  const [smallest] = here.toSorted((one, other) => one.memoryGib - other.memoryGib);
  const memoryGib = gpuMemoryGib ?? smallest?.memoryGib ?? null;
  const from = gpus === null && gpuMemoryGib === null ? 'this host' : 'options';
  const name = gpuMemoryGib === null ? smallest?.name : undefined;
  if (memoryGib !== null) return { count: gpus ?? Math.max(1, here.length), memoryGib, from, ...(name && { name }) };
  if (gpus === null) return null;
  throw rejected(
    'InvalidSpec',
    `--gpus ${gpus} comes without a memory size, and this host has no GPU to take it from; expected both; add --gpu-memory-gib, such as 80.`,
  );
}
