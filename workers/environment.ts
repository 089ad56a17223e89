/** What the environment says, read once, here and nowhere deeper; Temporal's and AWS's own variables are theirs. */
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NOTIFY_SECRET_PREFIX } from '../contracts/notification.ts';
import type { NoticeOptions } from './notices.ts';

const stateDir = join(import.meta.dirname, '..', '.reverie');

export interface Environment {
  /** `file:///folder` or `s3://bucket/prefix`. */
  storeUrl: string;
  cacheDir: string;
  /** Interpreter of the trainer's environment. */
  python: string;
  hub: { endpoint: string; token: string | null };
  notices: NoticeOptions;
  /** Host and port each, as in `0.0.0.0:9464`; null serves nothing. */
  observed: { metricsAddress: string | null; healthAddress: string | null };
  /** The version under which a CPU worker takes runs; null takes any run. */
  deployment: { name: string; buildId: string } | null;
  /** Shared by GPU workers: what it seals in the store, each of them runs. */
  kernelsSecret: string | null;
  /** Secrets that sign notifications, by the names of their variables. */
  notifySecrets: Record<string, string>;
}

const INSTANCE_METADATA = { IPv4: 'http://169.254.169.254', IPv6: 'http://[fd00:ec2::254]' };

/** An empty variable counts as unset, as a shell's `VAR= command` means it. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const storeUrl = env.REVERIE_STORE || join(stateDir, 'store');
  return {
    storeUrl: isAbsolute(storeUrl) ? pathToFileURL(storeUrl).href : storeUrl,
    cacheDir: resolve(env.REVERIE_CACHE_DIR || join(stateDir, 'cache')),
    python: env.REVERIE_PYTHON || join(stateDir, 'python', 'bin', 'python'),
    hub: { endpoint: env.HF_ENDPOINT || 'https://huggingface.co', token: env.HF_TOKEN || null },
    observed: {
      metricsAddress: env.REVERIE_METRICS_ADDRESS || null,
      healthAddress: env.REVERIE_HEALTH_ADDRESS || null,
    },
    deployment: deployment(env),
    kernelsSecret: env.REVERIE_KERNELS_SECRET || null,
    notifySecrets: notifySecrets(env),
    notices: { noticeFile: env.REVERIE_NOTICE_FILE || null, instanceMetadata: instanceMetadata(env) },
  };
}

/** Throws where one of the two is there without the other. */
function deployment({ REVERIE_DEPLOYMENT: name, REVERIE_BUILD_ID: buildId }: NodeJS.ProcessEnv) {
  if (!name && !buildId) return null;
  if (name && buildId) return { name, buildId };
  throw new Error(
    `REVERIE_DEPLOYMENT is ${name || 'unset'} and REVERIE_BUILD_ID is ${buildId || 'unset'}; expected both or neither; set REVERIE_DEPLOYMENT=reverie and REVERIE_BUILD_ID to the commit, or unset both.`,
  );
}

function notifySecrets(env: NodeJS.ProcessEnv): Record<string, string> {
  const named = Object.entries(env).filter(([name]) => name.startsWith(NOTIFY_SECRET_PREFIX));
  return Object.fromEntries(named.map(([name, value = '']) => [name, value]));
}

/** By AWS's own variables, as its SDKs read them. */
function instanceMetadata(env: NodeJS.ProcessEnv): string | null {
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === 'true') return null;
  const mode = env.AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE === 'IPv6' ? 'IPv6' : 'IPv4';
  return env.AWS_EC2_METADATA_SERVICE_ENDPOINT || INSTANCE_METADATA[mode];
}
