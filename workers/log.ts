/** One JSON line an entry on standard error, the SDK's own included: with the run and the stage it is about, without secrets. */
import { Context } from '@temporalio/activity';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import pino, { type DestinationStream, type Logger } from 'pino';
import { parseAddress } from './health.ts';

/** Each lets a worker finish what it must and end. */
export const SHUTDOWN_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/**
 * Must run before the first connection of a worker: the SDK's runtime is made once. `metricsAddress`, as in
 * `0.0.0.0:9464`, serves Prometheus metrics under `/metrics`; null serves none.
 */
export function installRuntime(level: string, metricsAddress: string | null): Logger {
  const log = createLog(level, process.env, pino.destination({ dest: 2, sync: true }));
  if (metricsAddress !== null) parseAddress(metricsAddress);
  const prometheus = {
    bindAddress: metricsAddress ?? '',
    countersTotalSuffix: true,
    unitSuffix: true,
    useSecondsForDurations: true,
  };
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
    ...(metricsAddress !== null && { telemetryOptions: { metrics: { prometheus } } }),
  });
  return log;
}

/** `env` holds the secrets that no line may. */
export function createLog(level: string, env: NodeJS.ProcessEnv, to: DestinationStream): Logger {
  const secrets = secretsIn(env);
  return pino(
    {
      level,
      base: { pid: process.pid },
      mixin: aboutActivity,
      serializers: { error: plainError, err: plainError },
      hooks: { streamWrite: (line) => secrets.reduce((text, secret) => text.replaceAll(secret, '[secret]'), line) },
    },
    to,
  );
}

/** What an activity logs is about its run, wherever in the code it is said. */
function aboutActivity(): object {
  try {
    const { workflowExecution, activityType, attempt } = Context.current().info;
    return { ...workflowExecution, stage: activityType, attempt };
  } catch {
    return {};
  }
}

/** Its own words alone: what libraries hang on an error can be a whole request, its headers included. */
function plainError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause instanceof Error && { cause: plainError(cause) }) };
}

const SECRET_NAME = /TOKEN|SECRET|PASSWORD|API_?KEY/i;
/** Below it a value would be found in innocent words. */
const SHORTEST_SECRET = 8;

/** As they are in a JSON string; the longest first, since one can hold another. */
function secretsIn(env: NodeJS.ProcessEnv): string[] {
  const values = Object.entries(env).flatMap(([name, value = '']) => (SECRET_NAME.test(name) ? [value] : []));
  return values
    .filter((value) => value.length >= SHORTEST_SECRET)
    .map((value) => JSON.stringify(value).slice(1, -1))
    .sort((a, b) => b.length - a.length);
}
