/** One line of the doctor: what was looked at, what was found, and how to mend it. */

export interface Check {
  name: string;
  /** A warning leaves something out; a failure stops a run. */
  status: 'ok' | 'warn' | 'fail';
  found: string;
  /** What to do about it; null where all is well. */
  remedy: string | null;
}

export const ok = (name: string, found: string): Check => ({ name, status: 'ok', found, remedy: null });
export const warn = (name: string, found: string, remedy: string): Check => ({ name, status: 'warn', found, remedy });
export const fail = (name: string, found: string, remedy: string): Check => ({ name, status: 'fail', found, remedy });

const signs = { ok: '✓', warn: '!', fail: '✗' } as const;

/** For people: a remedy on a line of its own, under what it mends. */
export function checkLine({ name, status, found, remedy }: Check, nameWidth: number): string {
  const line = `${signs[status]} ${name.padEnd(nameWidth)}${found}\n`;
  return remedy === null ? line : `${line}  ${' '.repeat(nameWidth)}→ ${remedy}\n`;
}

export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';

/** For lines about what may not answer at all. */
export async function within<T>(milliseconds: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not answer within ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
