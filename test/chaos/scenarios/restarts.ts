/** Temporal's server and the S3 gateway are killed and come back in mid-run; the trainer does not stop for them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { freeze } from '../freeze.ts';
import { type Blow, oneHost, type Scenario, twoHosts } from '../scenario.ts';
import type { Training } from '../training.ts';

const LONGEST_OUTAGE_MS = 2000;

export const restartedServer: Scenario = {
  name: 'restarted-server',
  about: 'SIGKILL to the Temporal server, which comes back on the same port and database',
  setting: oneHost,
  limitSeconds: 15,
  short: 1,
  inject: (training) =>
    restart(
      training,
      (outage) => training.house.restartServer(outage),
      async () => {
        const backMs = Date.now();
        while (!(await hasHeartbeatSince(training, backMs))) await training.pause();
      },
    ),
};

export const restartedGateway: Scenario = {
  name: 'restarted-gateway',
  about: 'SIGKILL to the S3 gateway, half of them in mid-upload; it comes back on the same port',
  setting: twoHosts,
  limitSeconds: 15,
  short: 1,
  inject: (training) =>
    restart(
      training,
      (outage) => training.house.restartGateway(outage),
      async () => {
        const attempt = await training.ripe(1);
        const [before = 0] = await training.storedSteps(attempt);
        while (((await training.storedSteps(attempt))[0] ?? 0) <= before) await training.pause();
      },
    ),
};

/** Frozen only until the service is dead, so that it is known what it died in. */
async function restart(
  training: Training,
  service: (outage: () => Promise<void>) => Promise<void>,
  recovered: () => Promise<void>,
): Promise<Blow> {
  const frozen = await freeze(training, training.random.pick(['step', 'upload']));
  const { aim, step } = frozen;
  const outageMs = training.random.integer(0, LONGEST_OUTAGE_MS);
  const atMs = Date.now();
  try {
    await service(async () => {
      frozen.thaw();
      await sleep(outageMs);
    });
  } finally {
    frozen.thaw();
  }
  return { detail: `in ${aim}, away for ${outageMs} ms and its start`, atMs, step, recovered };
}

async function hasHeartbeatSince({ handle }: Training, sinceMs: number): Promise<boolean> {
  const { raw } = await handle.describe();
  return (raw.pendingActivities ?? []).some(({ lastHeartbeatTime }) => {
    return Number(lastHeartbeatTime?.seconds ?? 0) * 1000 > sinceMs;
  });
}
