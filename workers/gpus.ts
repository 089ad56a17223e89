/** The GPUs of this host, as nvidia-smi lists them. */
import { execa } from 'execa';

/** 0 where there is no NVIDIA driver. */
export async function countGpus(): Promise<number> {
  const { stdout, failed } = await execa('nvidia-smi', ['--list-gpus'], { reject: false, timeout: 10_000 });
  return failed
    ? 0
    : String(stdout)
        .split('\n')
        .filter((line) => line.startsWith('GPU ')).length;
}
