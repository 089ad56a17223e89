/** The object store that holds a run's bytes: a few verbs that a folder and S3 both have, and nothing else. */

export interface Transfer {
  signal?: AbortSignal;
  /** Called with the number of bytes moved since the last call. */
  onBytes?: (bytes: number) => void;
}

export interface ObjectInfo {
  key: string;
  size: number;
  modifiedMs: number;
}

/**
 * Keys are relative, with forward slashes. Every method throws ReverieFailure `StoreUnavailable` when the store does
 * not answer after its own retries, and `DiskFull` when it, or the local disk, has no room.
 */
export interface Store {
  /** `file:///…` or `s3://bucket/prefix`, for people. */
  readonly url: string;
  /** Null where there is no such object. For small objects: manifests, records. */
  get(key: string): Promise<Uint8Array | null>;
  /** Visible whole or not at all. */
  put(key: string, body: Uint8Array): Promise<void>;
  /** As put, but only where nothing is; false when something was there. Stores without conditional writes throw `Error` named `ConditionalWritesUnsupported`. */
  putIfAbsent(key: string, body: Uint8Array): Promise<boolean>;
  /** Streams a local file up; large ones in parts, in parallel. Returns what was read, hashed on the way. */
  upload(key: string, file: string, transfer?: Transfer): Promise<{ size: number; sha256: string }>;
  /** Streams an object into a local file (through a temporary name beside it); continues a partial one. Null where there is none. */
  download(key: string, file: string, transfer?: Transfer): Promise<{ size: number; sha256: string } | null>;
  /** All objects under a prefix, in order of key, past any page limit. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Missing keys are no error. */
  delete(keys: readonly string[]): Promise<void>;
}
