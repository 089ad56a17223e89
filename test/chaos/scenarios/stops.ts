/** SIGTERM: what a notice of preemption, a drain or a person sends. No step may be lost. */
import { askToStop } from '../blows.ts';
import { send } from '../freeze.ts';
import { oneHost, type Scenario } from '../scenario.ts';

export const stopTrainer: Scenario = {
  name: 'stop-trainer',
  about: 'SIGTERM to the trainer; 0 steps lost',
  setting: oneHost,
  limitSeconds: 15,
  short: 1,
  inject: (training) => askToStop(training, async ({ trainer }) => send('SIGTERM', trainer)),
};

export const stopWorker: Scenario = {
  name: 'stop-worker',
  about: 'SIGTERM to the GPU worker, and another one on its host; 0 steps lost',
  setting: oneHost,
  limitSeconds: 15,
  short: 0,
  inject: (training) =>
    askToStop(training, async ({ host }) => {
      await host.worker.stop();
      await training.house.startHost({ name: host.name, ranks: host.ranks });
    }),
};
