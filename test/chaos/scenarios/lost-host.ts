/** Two hosts that share nothing but Temporal and S3: the one at work is lost for good, with its disk. */
import { aims, freeze, gone, send } from '../freeze.ts';
import { HEARTBEAT_SECONDS, type Scenario, twoHosts } from '../scenario.ts';
import { CHECKPOINT_EVERY } from '../training.ts';

export const lostHost: Scenario = {
  name: 'lost-host',
  about: 'of two hosts, the one at work is killed and its disk is gone; the other goes on from the store',
  setting: twoHosts,
  limitSeconds: HEARTBEAT_SECONDS + 10,
  short: 1,
  async inject(training) {
    const { house, random } = training;
    const frozen = await freeze(training, random.pick(aims));
    const { attempt, aim, host, step, trainer } = frozen;
    const [newest = 0] = await training.storedSteps(attempt);
    const atMs = Date.now();
    send('SIGKILL', [...trainer, host.worker.pid ?? 0]);
    await gone(frozen);
    await house.destroyHost(host);
    await house.startHost({ ranks: host.ranks });
    const detail = `${host.name} in ${aim}`;
    // A checkpoint on its way up, and one waiting behind it, are lost with the host.
    return {
      detail,
      atMs,
      step,
      struck: attempt,
      resumesFrom: [newest, newest],
      maxStepsLost: 3 * CHECKPOINT_EVERY,
    };
  },
};
