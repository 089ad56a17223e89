/** How set-up talks: a short line for each thing that it does, with its time, and errors that tell what to do. */

/** Bad input or a missing prerequisite. The message has four parts: the thing, what came, what was expected, what to do. */
export class SetupError extends Error {}

/** @param {number} milliseconds */
export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/**
 * Tells that `work` is done, or that it failed, and how long it took. Steps may run side by side, so each is one line
 * when it ends.
 *
 * @template T
 * @param {NodeJS.WriteStream} out
 * @param {string} title
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(out, title, work) {
  const startedAt = performance.now();
  const finish = (/** @type {string} */ sign) =>
    out.write(`${sign} ${title}  ${seconds(performance.now() - startedAt)}\n`);
  try {
    const result = await work();
    finish('✓');
    return result;
  } catch (error) {
    finish('✗');
    throw error;
  }
}
