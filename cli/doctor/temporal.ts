/** The Temporal server: reachable, its namespace and search attributes there, workers polling, its clock like ours. */
import { Connection } from '@temporalio/client';
import { optionalTsToMs } from '@temporalio/common/lib/time.js';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import proto from '@temporalio/proto';
import { searchAttributes } from '../../contracts/search-attributes.ts';
import { TASK_QUEUE } from '../../contracts/workflow-api.ts';
import { createSearchAttributes, missingSearchAttributes } from '../../workers/search-attributes.ts';
import { type Check, fail, firstLine, ok, warn } from './check.ts';
import { measureClockSkewMs } from './clock.ts';

const CONNECTS_WITHIN_MS = 3000;
/** A worker's long poll lasts a minute; one not seen for longer is gone. */
const POLLED_WITHIN_MS = 120_000;
const TOLERATED_SKEW_MS = 2000;
const GPU_QUEUE = 'reverie-gpu';

const { TASK_QUEUE_TYPE_ACTIVITY, TASK_QUEUE_TYPE_WORKFLOW } = proto.temporal.api.enums.v1.TaskQueueType;

export async function checkTemporalServer({ fix }: { fix: boolean }): Promise<Check[]> {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const address = connectionOptions.address ?? 'localhost:7233';
  let connection: Connection;
  try {
    connection = await Connection.connect({ ...connectionOptions, connectTimeout: CONNECTS_WITHIN_MS });
  } catch (error) {
    return [
      fail(
        'Temporal server',
        `nothing usable at ${address}: ${firstLine(error)}`,
        'start one with `node cli/bootstrap.mjs run up`, or set TEMPORAL_ADDRESS or TEMPORAL_PROFILE',
      ),
    ];
  }
  try {
    const { serverVersion } = await connection.workflowService.getSystemInfo({});
    const server = ok('Temporal server', `${serverVersion} at ${address}`);
    const found = await checkNamespace(connection, namespace);
    if (found.status !== 'ok') return [server, found];
    const rest = await Promise.all([
      checkSearchAttributes(connection, namespace, fix),
      checkWorkers(connection, namespace, TASK_QUEUE, [TASK_QUEUE_TYPE_WORKFLOW, TASK_QUEUE_TYPE_ACTIVITY], 'cpu'),
      checkWorkers(connection, namespace, GPU_QUEUE, [TASK_QUEUE_TYPE_ACTIVITY], 'gpu'),
      checkClock(connection, namespace),
    ]);
    return [server, found, ...rest];
  } finally {
    await connection.close();
  }
}

async function checkNamespace(connection: Connection, namespace: string): Promise<Check> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return ok('namespace', namespace);
  } catch (error) {
    const remedy = `create it with \`temporal operator namespace create -n ${namespace}\`, or correct TEMPORAL_NAMESPACE`;
    return fail('namespace', `${namespace}: ${firstLine(error)}`, remedy);
  }
}

async function checkSearchAttributes(connection: Connection, namespace: string, fix: boolean): Promise<Check> {
  const name = 'search attributes';
  try {
    const { missing, mistyped } = await missingSearchAttributes(connection, namespace);
    if (mistyped.length > 0) {
      return fail(
        name,
        `${mistyped.map((one) => `${one} is not of type ${searchAttributes[one]}`).join(', ')}`,
        'remove them with `temporal operator search-attribute remove`, then run `reverie doctor --fix`',
      );
    }
    if (missing.length === 0) return ok(name, 'all there');
    if (!fix) return fail(name, `${missing.join(', ')} missing`, 'run `reverie doctor --fix`');
    await createSearchAttributes(connection, namespace, missing);
    return ok(name, `created ${missing.join(', ')}`);
  } catch (error) {
    return fail(name, firstLine(error), 'ask for the right to manage search attributes, or have them created');
  }
}

async function checkWorkers(
  connection: Connection,
  namespace: string,
  queue: string,
  kinds: proto.temporal.api.enums.v1.TaskQueueType[],
  role: 'cpu' | 'gpu',
): Promise<Check> {
  const name = `workers on ${queue}`;
  const start = `start one with \`node cli/bootstrap.mjs run worker ${role}\`; until then tasks wait`;
  const polling = await Promise.all(
    kinds.map(async (taskQueueType) => {
      const { pollers } = await connection.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: queue },
        taskQueueType,
      });
      return (pollers ?? []).filter(
        ({ lastAccessTime }) => Date.now() - (optionalTsToMs(lastAccessTime) ?? 0) < POLLED_WITHIN_MS,
      );
    }),
  );
  if (polling.some((pollers) => pollers.length === 0)) return warn(name, 'none', start);
  const identities = new Set(polling.flatMap((pollers) => pollers.map(({ identity }) => identity ?? '?')));
  return ok(name, [...identities].sort().join(', '));
}

async function checkClock(connection: Connection, namespace: string): Promise<Check> {
  const skewMs = await measureClockSkewMs(connection, namespace);
  if (skewMs === null)
    return warn('clock', "the server's could not be read", 'compare it with `date -u` on both hosts');
  if (skewMs === 0) return ok('clock', "in step with the server's");
  const found = `${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs > 0 ? 'ahead of' : 'behind'} the server's`;
  return Math.abs(skewMs) > TOLERATED_SKEW_MS
    ? warn('clock', found, 'let NTP set it: signatures of S3 and times in the report depend on it')
    : ok('clock', found);
}
