/**
 * Bundles the workflow code, so that workers start in a moment and hold no bundler in memory:
 *
 *     node --import tsx workers/bundle.ts
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

export const workflowBundlePath = join(import.meta.dirname, '..', '.reverie', 'workflow-bundle.js');

export async function bundleWorkflows(): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error },
  });
  return code;
}

if (import.meta.filename === process.argv[1]) {
  const code = await bundleWorkflows();
  await mkdir(dirname(workflowBundlePath), { recursive: true });
  // Renamed into place: a worker that starts meanwhile reads the old one or the new one.
  const draft = `${workflowBundlePath}.${process.pid}`;
  await writeFile(draft, code);
  await rename(draft, workflowBundlePath);
}
