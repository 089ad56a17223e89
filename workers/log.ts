/** One JSON line an entry on standard error, the SDK's own included. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import pino, { type Logger } from 'pino';

/** Each lets a worker finish what it must and end. */
export const SHUTDOWN_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** Must run before the first connection of a worker: the SDK's runtime is made once. */
export function installLogging(level: string): Logger {
  const log = pino(
    { level, base: { pid: process.pid }, serializers: { error: pino.stdSerializers.err } },
    pino.destination({ dest: 2, sync: true }),
  );
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      const entry = { ...meta };
      switch (level) {
        case 'ERROR':
          return log.error(entry, message);
        case 'WARN':
          return log.warn(entry, message);
        default:
          return log.debug(entry, message);
      }
    }),
    shutdownSignals: [...SHUTDOWN_SIGNALS],
  });
  return log;
}
