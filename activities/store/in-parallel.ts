/** Bounded concurrency for transfers: a few files at once, results in order, nothing new begun after a failure. */

/** Rejects with the first error, once the work that had begun has ended: nobody writes into a folder that was given up. */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failed = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const index = next++;
      try {
        results[index] = await work(items[index] as T);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  for (const lane of ended) if (lane.status === 'rejected') throw lane.reason;
  return results;
}
