/** The two kinds of workers and how they are wired: `cpu` runs workflows and light activities, `gpu` the trainer. */
import './lean-memory.ts';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { delimiter, join } from 'node:path';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createCpuActivities, createGpuActivities } from '../activities/activities.ts';
import type { ActivityDeps } from '../activities/deps.ts';
import { Artifacts } from '../activities/store/artifacts.ts';
import { checkWritable, honoursConditionalWrites, openStore } from '../activities/store/open-store.ts';
import { killOrphans } from '../activities/trainer/process-tree.ts';
import { TASK_QUEUE } from '../contracts/workflow-api.ts';
import { workflowBundle } from './bundle.ts';
import { connectWorker } from './connect.ts';
import { versioning } from './deployment.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { listGpus } from './gpus.ts';
import { serveHealth } from './health.ts';
import { untilIdle } from './idle.ts';
import { installRuntime, SHUTDOWN_SIGNALS } from './log.ts';
import { graceOf, nextNotice, noticeSources, untilNoNotice } from './notices.ts';
import { createCommand, missingSearchAttributes } from './search-attributes.ts';

export interface WorkerRequest {
  kind: 'cpu' | 'gpu';
  /** Task queue of a GPU worker: the class of its host. */
  queue: string;
  /** Trainer processes that train together; null is one for each GPU. */
  ranks: number | null;
  /** What a stop leaves the trainer for its last checkpoint. */
  graceSeconds: number;
  /** A GPU worker that has had no work for so long ends, so that its host can be given back; null stays. */
  idleSeconds?: number | null;
  logLevel: string;
}

/** Heartbeats reach the server at least this often, and cancellations come back with them. */
const HEARTBEAT_THROTTLE_MS = 2000;

/**
 * Runs until SIGTERM, SIGINT or, for a GPU worker, a notice that the host goes; then takes no new work, lets the trainer
 * save, and returns.
 */
export async function runWorker(request: WorkerRequest): Promise<void> {
  const environment = readEnvironment();
  const { metricsAddress, healthAddress } = environment.observed;
  const log = installRuntime(request.logLevel, metricsAddress);
  const stopped = outliveSignals();
  let worker: Worker | null = null;
  const health = healthAddress === null ? null : await serveHealth(healthAddress, () => worker?.getState() ?? null);
  try {
    await takeTasks({ request, environment, log, stopped, onWorker: (created) => (worker = created) });
  } finally {
    await health?.close();
  }
}

interface TaskOptions {
  request: WorkerRequest;
  environment: Environment;
  log: Logger;
  stopped: AbortSignal;
  onWorker: (worker: Worker) => void;
}

async function takeTasks({ request, environment, log, stopped, onWorker }: TaskOptions): Promise<void> {
  const sources = request.kind === 'gpu' ? noticeSources(environment.notices, log) : [];
  const [deps] = await Promise.all([activityDeps(environment, log), untilNoNotice(sources, stopped, log)]);
  if (stopped.aborted) return;
  const { connection, namespace, address } = await connectWorker();
  try {
    const { missing } = await missingSearchAttributes(connection, namespace);
    if (missing.length > 0) {
      throw new Error(
        `Namespace ${namespace} has no search attribute ${missing.join(', ')}; expected all of Reverie's; run \`${createCommand(missing, namespace)}\` or \`reverie doctor --fix\`.`,
      );
    }
    const common = {
      connection,
      namespace,
      identity: `${request.kind}:${process.pid}@${hostname()}`,
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
      defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
    };
    let { graceSeconds } = request;
    const options =
      request.kind === 'cpu'
        ? await cpuOptions(deps, environment.deployment)
        : await gpuOptions(deps, request, environment, () => graceSeconds);
    const worker = await Worker.create({ ...common, ...options });
    onWorker(worker);
    const atWork = (): number => worker.getStatus().numInFlightActivities;
    const ended = new AbortController();
    const running = worker.run().finally(() => ended.abort());
    const draining = nextNotice(sources, ended.signal).then((notice) => {
      if (notice === null || worker.getState() !== 'RUNNING') return;
      graceSeconds = graceOf(notice, graceSeconds);
      log.warn({ notice: notice.told, graceSeconds }, 'this host is to be taken away; the worker saves and ends');
      worker.shutdown();
    });
    const { idleSeconds = null } = request;
    const idling = (idleSeconds === null ? null : untilIdle(idleSeconds, atWork, ended.signal))?.then((idle) => {
      if (!idle || worker.getState() !== 'RUNNING') return;
      log.info({ idleSeconds }, 'no work has come; the worker ends');
      worker.shutdown();
    });
    log.info(
      { address, namespace, queue: options.taskQueue, store: deps.store.url },
      `${request.kind} worker is ready`,
    );
    await Promise.all([running, draining, idling]);
  } finally {
    await connection.close();
  }
}

/**
 * The SDK takes its listener away at the first signal. Without another one, execa's clean-up finds itself alone with
 * the signal and ends this process on the spot, and with it the trainer that was about to save. Aborted by the first.
 */
function outliveSignals(): AbortSignal {
  const stopped = new AbortController();
  for (const signal of SHUTDOWN_SIGNALS) process.on(signal, () => stopped.abort());
  return stopped.signal;
}

async function activityDeps(
  { storeUrl, cacheDir, python, hub, notifySecrets }: Environment,
  log: Logger,
): Promise<ActivityDeps> {
  // The trainer of this checkout, whether or not the interpreter's environment has it installed.
  process.env.PYTHONPATH = [join(import.meta.dirname, '..', 'trainer'), process.env.PYTHONPATH]
    .filter(Boolean)
    .join(delimiter);
  // Node 20 is supported here for longer than by the AWS SDK, which says so at every start.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
  const store = openStore(storeUrl);
  await checkWritable(store);
  if (!(await honoursConditionalWrites(store)))
    log.warn({ store: store.url }, 'the store has no conditional writes: runs work, but promote one at a time');
  await mkdir(cacheDir, { recursive: true });
  const onDamaged = (uri: string, reason: string): void => log.warn({ uri, reason }, 'damaged artifact; it is rebuilt');
  return { store, artifacts: new Artifacts(store, cacheDir, onDamaged), cacheDir, python, hub, notifySecrets, log };
}

async function cpuOptions(deps: ActivityDeps, deployment: Environment['deployment']): Promise<WorkerOptions> {
  return {
    taskQueue: TASK_QUEUE,
    ...versioning(deployment),
    workflowBundle: await workflowBundle(deps.log),
    activities: createCpuActivities(deps),
    // A task has ten seconds from its start: of a hundred runs that move at once, those that wait have not begun theirs.
    maxConcurrentWorkflowTaskExecutions: 10,
    // Some hold a data set in memory while they work.
    maxConcurrentActivityTaskExecutions: 4,
    maxCachedWorkflows: 200,
    reuseV8Context: true,
  };
}

async function gpuOptions(
  deps: ActivityDeps,
  request: WorkerRequest,
  { kernelsSecret }: Environment,
  graceSeconds: () => number,
): Promise<WorkerOptions> {
  // Trainers of a worker that was killed: the kernel has ended them with it, or this does.
  const killed = await killOrphans(deps.cacheDir);
  if (killed > 0) deps.log.warn({ killed }, 'ended trainers that an earlier worker had left');
  const gpus = await listGpus();
  const gpuDeps = {
    ...deps,
    ranks: request.ranks ?? Math.max(1, gpus.length),
    gpus: gpus.length,
    gpuModels: gpus.map(({ name }) => name),
    kernelsSecret,
    host: hostname(),
    graceSeconds,
  };
  return {
    taskQueue: request.queue,
    activities: createGpuActivities(gpuDeps),
    maxConcurrentActivityTaskExecutions: 1,
    // Running activities hear of a shutdown at once: the notice belongs to the checkpoint.
    shutdownGraceTime: 0,
    shutdownForceTime: (request.graceSeconds + 30) * 1000,
  };
}
