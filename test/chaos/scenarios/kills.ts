/** SIGKILL to the trainer, to the worker, and to both, at random moments in step, save, upload and validation. */
import { kill } from '../blows.ts';
import { HEARTBEAT_SECONDS, oneHost, type Scenario } from '../scenario.ts';

export const killTrainer: Scenario = {
  name: 'kill-trainer',
  about: 'SIGKILL to every process of the trainer',
  setting: oneHost,
  limitSeconds: 15,
  short: 1,
  inject: (training) => kill(training, { trainer: true, worker: false }),
};

export const killWorker: Scenario = {
  name: 'kill-worker',
  about: 'SIGKILL to the GPU worker; the trainer has to die with it',
  setting: oneHost,
  limitSeconds: HEARTBEAT_SECONDS + 10,
  short: 1,
  inject: (training) => kill(training, { trainer: false, worker: true }),
};

export const killBoth: Scenario = {
  name: 'kill-both',
  about: 'SIGKILL to GPU worker and trainer at once',
  setting: oneHost,
  limitSeconds: HEARTBEAT_SECONDS + 10,
  short: 0,
  inject: (training) => kill(training, { trainer: true, worker: true }),
};
