/** Lets a long computation live beside a heartbeat: now and then the event loop gets its turn. */
import { setImmediate } from 'node:timers/promises';

export interface Turn {
  signal?: AbortSignal | undefined;
  /** Called with each item done. */
  progress?: ((items?: number) => void) | undefined;
}

const SLICE_MS = 25;

/** A function to await after each item: it reports progress, throws when cancelled, and yields every 25 ms. */
export function takingTurns({ signal, progress }: Turn = {}): () => Promise<void> | void {
  let since = performance.now();
  return () => {
    progress?.(1);
    if (performance.now() - since < SLICE_MS) return;
    return setImmediate().then(() => {
      signal?.throwIfAborted();
      since = performance.now();
    });
  };
}
