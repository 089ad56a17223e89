/** The GPUs that programs started from here see: those that nvidia-smi lists, less what CUDA_VISIBLE_DEVICES hides. */
import { execa } from 'execa';

export interface Gpu {
  /** As CUDA_VISIBLE_DEVICES may name it. */
  device: string;
  name: string;
  /** Null where it shares the host's memory, and has no figure of its own. */
  memoryGib: number | null;
}

/** Empty where there is no NVIDIA driver. */
export async function listGpus(visible = process.env.CUDA_VISIBLE_DEVICES): Promise<Gpu[]> {
  if (visible !== undefined && chosen(visible).length === 0) return [];
  const query = ['--query-gpu=uuid,index,memory.total,name', '--format=csv,noheader,nounits'];
  const { stdout, failed } = await execa('nvidia-smi', query, { reject: false, timeout: 10_000 });
  return failed ? [] : visibleGpus(String(stdout), visible);
}

/**
 * Lines such as `GPU-3f1c…, 0, 81559, NVIDIA H100 80GB HBM3`, memory in MiB. As CUDA reads the variable: numbers, or
 * beginnings of UUIDs, up to the first that names nothing; of MIG instances a program sees one, whatever is named.
 */
export function visibleGpus(text: string, visible: string | undefined): Gpu[] {
  const all = text.split('\n').flatMap((line) => {
    const [, uuid, index, mib, name] = /^\s*(\S+)\s*,\s*(\d+)\s*,\s*(\S+)\s*,\s*(.+?)\s*$/.exec(line) ?? [];
    if (!uuid || !index || !name) return [];
    return [{ uuid, gpu: { device: index, name, memoryGib: /^\d+$/.test(mib ?? '') ? Number(mib) / 1024 : null } }];
  });
  if (visible === undefined) return all.map(({ gpu }) => gpu);
  const seen: Gpu[] = [];
  for (const device of chosen(visible)) {
    if (device.startsWith('MIG-')) return all.slice(0, 1).map(({ gpu }) => ({ ...gpu, device }));
    const found = all.find(
      ({ uuid, gpu }) => gpu.device === device || (/^GPU-./.test(device) && uuid.startsWith(device)),
    );
    if (found === undefined) break;
    seen.push({ ...found.gpu, device });
  }
  return seen;
}

function chosen(visible: string): string[] {
  const devices = visible.split(',').map((device) => device.trim());
  const end = devices.findIndex((device) => device === '' || device === '-1');
  return end === -1 ? devices : devices.slice(0, end);
}
