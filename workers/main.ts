/**
 * Entry point of a worker process, without the rest of the CLI in memory:
 *
 *     node --import tsx workers/main.ts cpu
 *     node --import tsx workers/main.ts gpu [--queue reverie-gpu] [--ranks N] [--grace-seconds 110] [--idle-seconds N]
 */
import { parseArgs } from 'node:util';
import { exitCodeOf } from './exit-code.ts';
import { runWorker } from './worker.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    queue: { type: 'string', default: 'reverie-gpu' },
    ranks: { type: 'string' },
    'grace-seconds': { type: 'string', default: '110' },
    'idle-seconds': { type: 'string' },
    'log-level': { type: 'string', default: 'info' },
  },
});
const [kind] = positionals;
if (kind !== 'cpu' && kind !== 'gpu') {
  process.stderr.write(`Worker kind ${kind ?? '(none)'}; expected cpu or gpu.\n`);
  process.exit(2);
}
try {
  await runWorker({
    kind,
    queue: values.queue,
    ranks: values.ranks === undefined ? null : Number(values.ranks),
    graceSeconds: Number(values['grace-seconds']),
    idleSeconds: values['idle-seconds'] === undefined ? null : Number(values['idle-seconds']),
    logLevel: values['log-level'],
  });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(exitCodeOf(error));
}
