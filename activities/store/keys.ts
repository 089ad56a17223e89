/** What may name an object: relative, forward slashes, nothing that a folder would read as a way out of its root. */

/** Returns the key; throws TypeError, since a bad key is a fault of the caller's and never of the store. */
export function checkedKey(key: string): string {
  const bad = key.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (bad || key.includes('\\') || key.includes('\0')) {
    throw new TypeError(
      `store key ${JSON.stringify(key)} is not a relative path; expected names joined by single slashes, without "." or ".."; name the object within its artifact's or checkpoint's folder.`,
    );
  }
  return key;
}

/** As a key, but may end within a name or with a slash; the empty prefix is everything. */
export function checkedPrefix(prefix: string): string {
  if (prefix !== '') checkedKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
  return prefix;
}

/** Thrown by putIfAbsent; the caller falls back on names that cannot collide. */
export function conditionalWritesUnsupported(url: string): Error {
  const error = new Error(
    `Store ${url} overwrites on "If-None-Match: *"; expected a store with conditional writes; use one that has them (Amazon S3, MinIO, Ceph, a folder), or do without.`,
  );
  error.name = 'ConditionalWritesUnsupported';
  return error;
}
