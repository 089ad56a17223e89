/** The GPUs of this host, as nvidia-smi lists them. */
import { execa } from 'execa';

export interface Gpu {
  name: string;
  memoryGib: number;
}

/** Empty where there is no NVIDIA driver; without GPUs that share the host's memory, which have no figure of theirs. */
export async function listGpus(): Promise<Gpu[]> {
  const query = ['--query-gpu=memory.total,name', '--format=csv,noheader,nounits'];
  const { stdout, failed } = await execa('nvidia-smi', query, { reject: false, timeout: 10_000 });
  return failed ? [] : parseGpus(String(stdout));
}

/** Lines such as `81559, NVIDIA H100 80GB HBM3`, memory in MiB. */
export function parseGpus(text: string): Gpu[] {
  return text.split('\n').flatMap((line) => {
    const [, mib, name] = /^\s*(\d+)\s*,\s*(.+?)\s*$/.exec(line) ?? [];
    return mib && name ? [{ name, memoryGib: Number(mib) / 1024 }] : [];
  });
}

/** 0 where there is no NVIDIA driver. */
export async function countGpus(): Promise<number> {
  const { stdout, failed } = await execa('nvidia-smi', ['--list-gpus'], { reject: false, timeout: 10_000 });
  return failed
    ? 0
    : String(stdout)
        .split('\n')
        .filter((line) => line.startsWith('GPU ')).length;
}
