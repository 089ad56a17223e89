/** The workflow bundle: built once, so that a worker starts in a moment and holds no bundler in memory. */
import { bundleState } from '../../workers/bundle-file.mjs';
import { command } from './command.mjs';
import { root } from './paths.mjs';

export const bundleIsCurrent = () => bundleState() === 'current';

export async function buildBundle() {
  await command(process.execPath, ['--import', 'tsx', 'workers/bundle.ts'], {
    cwd: root,
    advice: 'mend the workflow code that it names',
  });
}
