/** Versions of the CPU workers, for deploys in the middle of runs: which a worker is of, and which takes new runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import type { WorkerOptions } from '@temporalio/worker';
import type { Environment } from './environment.ts';

type Deployment = NonNullable<Environment['deployment']>;

/** The server hears of a version with its worker's first poll. */
const HEARD_WITHIN_MS = 20_000;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;

/**
 * Under a deployment a run stays with the version that began it; without one every worker takes every run, as the replay
 * goldens allow. Never for a GPU worker: a training outlives deploys, and whoever is free has to go on with it.
 */
export function versioning(deployment: Deployment | null): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (deployment === null) return {};
  const version = { deploymentName: deployment.name, buildId: deployment.buildId };
  return { workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior: 'PINNED' } };
}

/** New runs go to this version; as `temporal worker deployment set-current-version` does. Its worker must be up. */
export async function setCurrentVersion(
  connection: Pick<Connection, 'workflowService'>,
  namespace: string,
  { name, buildId }: Deployment,
): Promise<void> {
  const request = { namespace, deploymentName: name, buildId, identity: 'reverie' };
  for (const giveUpMs = performance.now() + HEARD_WITHIN_MS; ; await sleep(200)) {
    try {
      await connection.workflowService.setWorkerDeploymentCurrentVersion(request);
      return;
    } catch (error) {
      const { code } = error as { code?: number };
      if ((code !== NOT_FOUND && code !== FAILED_PRECONDITION) || performance.now() > giveUpMs) throw error;
    }
  }
}
