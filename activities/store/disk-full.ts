/** A disk without room, told by the code of the file system's error. */
import { ReverieFailure } from '../../contracts/failures.ts';

/** The failure for a full disk or quota at `path`; null when the error says something else. */
export function asDiskFull(error: unknown, path: string): ReverieFailure<'DiskFull'> | null {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return null;
  return new ReverieFailure(
    'DiskFull',
    `No room left to write ${path} (${code}); expected free space; free some, or point REVERIE_CACHE_DIR or REVERIE_STORE at a larger disk.`,
    { path },
    { cause: error },
  );
}
