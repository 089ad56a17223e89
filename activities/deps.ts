/** What activities are given by the worker that hosts them; they read no environment of their own. */
import type { Logger } from 'pino';
import type { Artifacts } from './store/artifacts.ts';
import type { Store } from './store/store.ts';

export interface ActivityDeps {
  store: Store;
  artifacts: Artifacts;
  /** Local folder for fetched artifacts, scratch folders and running trainers. */
  cacheDir: string;
  /** The interpreter whose environment holds `dream_trainer`. */
  python: string;
  hub: { endpoint: string; token: string | null };
  /** Secrets that sign notifications, by the names of their variables. */
  notifySecrets?: Readonly<Record<string, string>>;
  log: Logger;
}
