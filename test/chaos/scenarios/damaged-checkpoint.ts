/** The newest checkpoint is damaged, on the host, in the store, or in both; then the trainer is killed. */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileStore } from '../../../activities/store/file-store.ts';
import { breakCheckpoint, type Damage, damages } from '../damage.ts';
import { type Frozen, freeze, gone, savingStep, send } from '../freeze.ts';
import { type Blow, oneHost, type Scenario } from '../scenario.ts';
import { CHECKPOINT_EVERY, type Training } from '../training.ts';

const places = ['host and store', 'host', 'store of a fresh host'] as const;

export const damagedCheckpoints: Scenario[] = damages.map((damage) => ({
  name: `damaged-${damage}`,
  about: `the newest checkpoint, ${damage.replace('-', ' ')}, on host or in store or both; then SIGKILL to the trainer`,
  setting: oneHost,
  limitSeconds: 15,
  short: damage === 'flipped-bit' ? 1 : 0,
  inject: (training) => inject(training, damage),
}));

async function inject(training: Training, damage: Damage): Promise<Blow> {
  const { house, random } = training;
  const frozen = await freezeSettled(training);
  const { attempt, step } = frozen;
  const place = random.pick(places);
  const [newest = 0] = await training.localSteps(attempt);
  const older = [
    ...(await training.storedSteps(attempt)),
    ...(place === 'store of a fresh host' ? [] : await training.localSteps(attempt)),
  ];
  const expected = place === 'host' ? newest : Math.max(...older.filter((other) => other < newest));
  const done: string[] = [];
  if (place !== 'host') {
    const prefix = `checkpoints/${attempt.trainKey}/${attempt.prefix}/step-${newest}/`;
    done.push(await breakCheckpoint(house.store, prefix, damage, random));
  }
  if (place !== 'store of a fresh host') {
    const local = new FileStore(join(attempt.folder, 'checkpoints'));
    done.push(await breakCheckpoint(local, `step-${newest}/`, damage, random));
  }
  const atMs = Date.now();
  send('SIGKILL', frozen.trainer);
  await gone(frozen);
  if (place === 'store of a fresh host')
    await rm(dirname(attempt.folder), { recursive: true, force: true, maxRetries: 5 });
  const detail = `step ${newest}, ${place}: ${done.join('; ')}`;
  return {
    detail,
    atMs,
    step,
    struck: attempt,
    resumesFrom: [expected, expected],
    maxStepsLost: 3 * CHECKPOINT_EVERY,
  };
}

/** The trainer stands still, and the worker has brought up all that it has saved. */
async function freezeSettled(training: Training): Promise<Frozen> {
  for (;;) {
    const frozen = await freeze(training, 'step', 2);
    send('SIGCONT', [frozen.host.worker.pid ?? 0]);
    for (let look = 0; look < 20; look++) {
      const [[local], [stored]] = [
        await training.localSteps(frozen.attempt),
        await training.storedSteps(frozen.attempt),
      ];
      if (local === stored && (await savingStep(frozen.attempt)) === null) return frozen;
      await training.pause();
    }
    frozen.thaw();
  }
}
