/** One at a time within this process, by name: two runs that download the same commit share one set of files. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transfer } from '../store/store.ts';

const holders = new Map<string, Promise<unknown>>();
const TICK_MS = 2_000;

/** Waits while another holds `name`. Waiting counts as progress: the holder is held to its own. */
export async function exclusively<T>(name: string, transfer: Transfer = {}, work: () => Promise<T>): Promise<T> {
  for (let holder = holders.get(name); holder; holder = holders.get(name)) {
    transfer.signal?.throwIfAborted();
    transfer.onBytes?.(0);
    const tick = new AbortController();
    await Promise.race([
      holder.catch(() => undefined),
      sleep(TICK_MS, undefined, { signal: tick.signal }).catch(() => undefined),
    ]);
    tick.abort();
  }
  const mine = work();
  holders.set(name, mine);
  try {
    return await mine;
  } finally {
    holders.delete(name);
  }
}
