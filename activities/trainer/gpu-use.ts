/** Use and memory of this host's GPUs, asked of nvidia-smi beside a training. */
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { GpuUse } from '../../contracts/workflow-api.ts';

const EVERY_MS = 10_000;
const QUERY = ['--query-gpu=index,utilization.gpu,memory.used', '--format=csv,noheader,nounits'];

/** Tells every ten seconds until `signal` is aborted; once nothing, where there is no nvidia-smi. Never rejects. */
export async function watchGpuUse(
  tell: (gpus: GpuUse[]) => void,
  signal: AbortSignal,
  everyMs = EVERY_MS,
): Promise<void> {
  while (!signal.aborted) {
    const { code, failed, stdout } = await execa('nvidia-smi', QUERY, { reject: false, timeout: EVERY_MS });
    if (code === 'ENOENT') return;
    // One answer that failed is no figure, and no end.
    if (!signal.aborted) tell(failed ? [] : parseGpuUse(String(stdout)));
    await sleep(everyMs, undefined, { signal, ref: false }).catch(() => {});
  }
}

/** Lines such as `0, 97, 71680`: percent and MiB, or `[N/A]` where a GPU does not say. */
export function parseGpuUse(text: string): GpuUse[] {
  return text.split('\n').flatMap((line) => {
    const [index = '', percent = '', mib = ''] = line.split(',').map((field) => field.trim());
    const number = (field: string): number | null => (/^\d+$/.test(field) ? Number(field) : null);
    const memory = number(mib);
    return number(index) === null
      ? []
      : [{ index: Number(index), percent: number(percent), memoryGib: memory === null ? null : memory / 1024 }];
  });
}
