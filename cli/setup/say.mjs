/** How set-up talks: a short line for each thing that it does, with its time, and errors that tell what to do. */

/** Bad input or a missing prerequisite. The message has four parts: the thing, what came, what was expected, what to do. */
export class SetupError extends Error {}

/** @param {number} milliseconds */
export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/**
 * Shows `title` while `work` runs and its time when it ends. On a terminal the line is rewritten; in a pipe there is
 * one line at the start, since some steps take minutes, and one at the end.
 *
 * @template T
 * @param {NodeJS.WriteStream} out
 * @param {string} title
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(out, title, work) {
  const startedAt = performance.now();
  out.write(out.isTTY ? `  … ${title}` : `… ${title}\n`);
  const finish = (/** @type {string} */ sign) => {
    const line = `${sign} ${title}  ${seconds(performance.now() - startedAt)}\n`;
    out.write(out.isTTY ? `\r\u001B[2K  ${line}` : line);
  };
  try {
    const result = await work();
    finish('✓');
    return result;
  } catch (error) {
    finish('✗');
    throw error;
  }
}
