/** How much of a training's wall time moves it forward, when it is killed once in so many restart times. */
import { Attempts } from '../../activities/train/attempts.ts';
import { trainingLedger } from '../../activities/train/ledger.ts';
import { goodput, type TrainingLedger, wallSeconds } from '../../contracts/ledger.ts';
import type { RunStatus } from '../../contracts/workflow-api.ts';
import { kill } from './blows.ts';
import type { House } from './house.ts';
import { begun, recover } from './injection.ts';
import type { Random } from './random.ts';
import { oneHost, TooLate } from './scenario.ts';
import { killTrainer } from './scenarios/kills.ts';
import { median } from './table.ts';
import { spec, Training } from './training.ts';

export interface GoodputTrial {
  /** From the kill to the first new step, as measured first. */
  restartSeconds: number;
  /** A kill once in so many of them. */
  span: number;
  kills: number;
  /** The restart times to each kill, as it came. */
  rarity: number;
  goodput: number;
  /** At just a kill in `span` restart times. */
  atSpan: number;
  least: number;
  ledger: TrainingLedger;
  misses: string[];
}

const LOOK_MS = 2000;

/** What is asked of a training, by how rare its preemptions are. */
const leastOf = (span: number): number => (span >= 50 ? 0.95 : 0.9);

/** The length of a step and of a restart, from a short training with one kill. */
async function calibrate(house: House, random: Random): Promise<{ stepSeconds: number; restartSeconds: number }> {
  const training = await Training.start(house, random, 'calibration');
  const injection = begun(killTrainer, 'calibration');
  await recover(training, await kill(training, { trainer: true, worker: false }), injection);
  const { attempts } = await training.finish();
  const lengths = attempts.flatMap(({ steps }) => steps.slice(1).map(({ at }, index) => at - (steps[index]?.at ?? at)));
  return {
    // Of most steps: validations lie between some.
    stepSeconds: median(lengths) ?? 0,
    restartSeconds: injection.secondsToNewStep ?? 0,
  };
}

export async function goodputTrials(
  house: House,
  random: Random,
  options: { spans: readonly number[]; kills: number; say: (line: string) => void },
): Promise<GoodputTrial[]> {
  await house.arrange(oneHost);
  const { stepSeconds, restartSeconds } = await calibrate(house, random);
  options.say(`a step takes ${stepSeconds.toFixed(3)} s, a restart ${restartSeconds.toFixed(1)} s`);
  const trials: GoodputTrial[] = [];
  for (const span of options.spans) {
    await house.forgetTraining();
    const everySeconds = span * restartSeconds;
    const maxSteps = Math.ceil((options.kills * everySeconds) / stepSeconds);
    const training = await Training.start(house, random, `goodput-${span}`, {
      ...spec,
      // The cadence is left to the trainer, which knows how rare the kills are.
      // Nor is a spike looked for: so many epochs over a few rows make them by themselves.
      train: {
        ...spec.train,
        maxSteps,
        epochs: 1000,
        checkpointEverySteps: null,
        validateEverySteps: maxSteps,
        spikeFactor: null,
      },
      policy: { ...spec.policy, expectedSecondsBetweenPreemptions: everySeconds },
    });
    let kills = 0;
    try {
      await training.ripe(1);
      // In the middle of each interval, so that there are as many intervals as kills.
      for (let wait = everySeconds / 2; ; wait = everySeconds) {
        await during(training, wait);
        const blow = await kill(training, { trainer: true, worker: false }, 'step');
        await recover(training, blow, begun(killTrainer, training.handle.workflowId));
        options.say(`${span} ×: kill ${++kills} ${blow.detail}, at step ${blow.step} of ${maxSteps}`);
      }
    } catch (error) {
      if (!(error instanceof TooLate)) throw error;
    }
    const { attempts } = await training.finish();
    const ledger = trainingLedger(await new Attempts(house.store, attempts.at(-1)?.trainKey ?? '').list());
    const share = ledger && goodput(ledger);
    if (ledger === null || share === null) throw new Error(`no ledger of ${training.handle.workflowId}`);
    const misses: string[] = [];
    // Steps are faster over a long time than over a short one, so that the last kill may fall out; what the others cost
    // is then counted as often as was asked.
    const rarity = wallSeconds(ledger) / kills / restartSeconds;
    const atSpan = 1 - (1 - share) * Math.max(1, rarity / span);
    if (!(atSpan >= leastOf(span))) misses.push(`goodput ${atSpan.toFixed(4)}; expected ${leastOf(span)} at least`);
    if (ledger.replays.differing > 0) misses.push(`${ledger.replays.differing} replayed losses differ; expected none`);
    const trial = { restartSeconds, span, kills, rarity, goodput: share, atSpan, least: leastOf(span), ledger, misses };
    options.say(
      `${span} ×: goodput ${(100 * share).toFixed(1)} % over ${kills} kills, one in ${rarity.toFixed(1)} ×; at ${span} × ${(100 * atSpan).toFixed(1)} % ${misses.join('; ')}`,
    );
    trials.push(trial);
  }
  return trials;
}

/** Throws TooLate when the training ends meanwhile, and what the run says where it waits for a person. */
async function during(training: Training, seconds: number): Promise<void> {
  const endMs = Date.now() + seconds * 1000;
  while (Date.now() < endMs) {
    await training.pause(Math.max(1, Math.min(LOOK_MS, endMs - Date.now())));
    const { state, parked } = await training.handle.query<RunStatus>('status');
    if (state === 'parked') throw new Error(`${training.handle.workflowId} is parked: ${parked?.reason}`);
  }
}
