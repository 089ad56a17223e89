/** The workflow bundle: built once, so that a worker starts in a moment and holds no bundler in memory. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.mjs';
import { readIfThere, root, stampOf, workflowBundle } from './paths.mjs';

const stampFile = `${workflowBundle}.stamp`;

export function bundleIsCurrent() {
  return existsSync(workflowBundle) && readIfThere(stampFile) === sources();
}

export async function buildBundle() {
  const stamp = sources(); // Before building: a source edited meanwhile makes the bundle stale, as it should.
  await command(process.execPath, ['--import', 'tsx', 'workers/bundle.ts'], {
    cwd: root,
    advice: 'mend the workflow code that it names',
  });
  writeFileSync(stampFile, stamp);
}

function sources() {
  const files = ['workflows', 'contracts']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(root, folder, name)),
    )
    .filter((file) => file.endsWith('.ts'));
  return stampOf([...files.sort(), join(root, 'workers', 'bundle.ts'), join(root, 'package-lock.json')]);
}
