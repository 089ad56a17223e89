/**
 * Bundles the workflow code, so that workers start in a moment and hold no bundler in memory:
 *
 *     node --import tsx workers/bundle.ts
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, type WorkflowBundleOption } from '@temporalio/worker';
import type { Logger } from 'pino';
import { bundleFile, bundleState, sourceStamp, stampFile } from './bundle-file.mjs';

export async function bundleWorkflows(): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error },
  });
  return code;
}

/** The file where it is of these sources; else they are bundled here, since runs must not go on in other code. */
export async function workflowBundle(log: Pick<Logger, 'warn'>): Promise<WorkflowBundleOption> {
  const state = bundleState();
  if (state === 'current') return { codePath: bundleFile };
  const came = {
    missing: 'there is no workflow bundle',
    stale: 'the workflow bundle was made from other sources',
  }[state];
  log.warn(
    { bundle: bundleFile },
    `${came}; expected one made from workflows/ and contracts/ as they are; this worker bundles them itself, which costs it seconds and memory at every start; run \`node cli/bootstrap.mjs setup\``,
  );
  return { code: await bundleWorkflows() };
}

if (import.meta.filename === process.argv[1]) {
  const stamp = sourceStamp(); // Before bundling: a source edited meanwhile makes the bundle stale, as it should.
  const code = await bundleWorkflows();
  await mkdir(dirname(bundleFile), { recursive: true });
  // Renamed into place: a worker that starts meanwhile reads the old one or the new one.
  const draft = `${bundleFile}.${process.pid}`;
  await writeFile(draft, code);
  await rename(draft, bundleFile);
  await writeFile(stampFile, stamp);
}
