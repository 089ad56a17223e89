/** Two ranks that train together over gloo: one is killed; and hosts come back with another number of them. */
import { readFile } from 'node:fs/promises';
import { kill } from '../blows.ts';
import { freeze, gone, savingStep, send } from '../freeze.ts';
import { HEARTBEAT_SECONDS, oneHost, type Scenario } from '../scenario.ts';
import { CHECKPOINT_EVERY } from '../training.ts';

/** A weight's last bit in bf16, in which the demo's model is stored, for weights up to 1. */
const BF16_STEP = 2 ** -8;

export const killRank: Scenario = {
  name: 'kill-rank',
  about: 'SIGKILL to one of two ranks; the other has to go with it',
  setting: { ...oneHost, ranks: 2 },
  limitSeconds: 15,
  short: 0,
  async inject(training) {
    const { random } = training;
    const frozen = await freeze(training, random.pick(['step', 'save', 'validation']));
    const { attempt, aim, step, trainer, atMs } = frozen;
    const rank = random.integer(0, 1);
    const environments = await Promise.all(trainer.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8')));
    const victims = trainer.filter((_, index) => environments[index]?.split('\0').includes(`RANK=${rank}`));
    if (victims.length === 0) throw new Error(`no rank ${rank} among ${trainer.length} processes of the trainer`);
    const [newest = 0] = await training.localSteps(attempt);
    // The other rank may still finish a save to which this one has given its share.
    const saving = await savingStep(attempt);
    send('SIGKILL', victims);
    frozen.thaw();
    await gone(frozen);
    const resumesFrom: [number, number] = [newest, Math.max(newest, saving ?? 0)];
    const detail = `rank ${rank} in ${aim}`;
    return { detail, atMs, step, struck: attempt, resumesFrom, maxStepsLost: 2 * CHECKPOINT_EVERY };
  },
};

export const changeRanks: Scenario = {
  name: 'change-ranks',
  about: 'SIGKILL to a worker with 2 ranks, which comes back with 1; and back to 2. Equal to rounding',
  setting: { ...oneHost, ranks: 2, tolerance: BF16_STEP },
  limitSeconds: HEARTBEAT_SECONDS + 10,
  short: 0,
  async inject(training) {
    const { ranks } = training.hostOf(await training.ripe(1));
    const blow = await kill(training, { trainer: true, worker: true, ranks: 3 - ranks });
    return { ...blow, detail: `${ranks} → ${3 - ranks} ranks, ${blow.detail}` };
  },
};
