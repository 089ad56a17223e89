/** What the environment says, read once, here and nowhere deeper; Temporal's and AWS's own variables are theirs. */
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const stateDir = join(import.meta.dirname, '..', '.reverie');

export interface Environment {
  /** `file:///folder` or `s3://bucket/prefix`. */
  storeUrl: string;
  cacheDir: string;
  /** Interpreter of the trainer's environment. */
  python: string;
  hub: { endpoint: string; token: string | null };
}

/** An empty variable counts as unset, as a shell's `VAR= command` means it. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const storeUrl = env.REVERIE_STORE || join(stateDir, 'store');
  return {
    storeUrl: isAbsolute(storeUrl) ? pathToFileURL(storeUrl).href : storeUrl,
    cacheDir: resolve(env.REVERIE_CACHE_DIR || join(stateDir, 'cache')),
    python: env.REVERIE_PYTHON || join(stateDir, 'python', 'bin', 'python'),
    hub: { endpoint: env.HF_ENDPOINT || 'https://huggingface.co', token: env.HF_TOKEN || null },
  };
}
