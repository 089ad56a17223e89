/** `reverie up`: what the demo starts, for as long as a person wants it. */
import { once } from 'node:events';
import { join } from 'node:path';
import { connectClient } from '../workers/connect.ts';
import { setCurrentVersion } from '../workers/deployment.ts';
import { readEnvironment } from '../workers/environment.ts';
import { startStack } from './stack.ts';

const GRACE_SECONDS = 60;

export async function up(signal: AbortSignal): Promise<void> {
  const { storeUrl, cacheDir, deployment } = readEnvironment();
  const stateDir = join(import.meta.dirname, '..', '.reverie', 'up');
  const stack = await startStack({ stateDir, store: storeUrl, cacheDir, graceSeconds: GRACE_SECONDS, signal });
  if (deployment !== null) {
    Object.assign(process.env, stack.env);
    const { connection, namespace } = await connectClient();
    await setCurrentVersion(connection, namespace, deployment).finally(() => connection.close());
  }
  process.stdout.write(
    `Temporal at ${stack.address} (export TEMPORAL_ADDRESS=${stack.address})\nUI at ${stack.uiUrl}\nStore ${storeUrl}, logs in ${stack.logs}\nCtrl-C stops everything.\n`,
  );
  if (!signal.aborted) await once(signal, 'abort');
  await stack.stop();
}
