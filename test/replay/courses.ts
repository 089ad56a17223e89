/** The courses of runs that goldens are kept of: how each is brought about. One name, one course, for good. */
import { progressAt } from '../fixtures/progress.ts';
import { failure } from '../fixtures/scripted-activities.ts';
import type { ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

async function undisturbed(house: TemporalHouse, name: string): Promise<ScriptedRun> {
  const run: ScriptedRun = await house.start(
    name,
    { promote: { enabled: true } },
    {
      train: async () => {
        await run.signalProgress(progressAt({ step: 20, checkpointStep: 20 }));
        await run.until('has heard', ({ progress }) => progress?.step === 20);
      },
    },
  );
  await run.result();
  return run;
}

export const courses: Record<string, (house: TemporalHouse) => Promise<ScriptedRun>> = {
  'undisturbed-v1': (house) => undisturbed(house, 'undisturbed-v1'),
  /** As of six-events-a-failure. */
  'undisturbed-v2': (house) => undisturbed(house, 'undisturbed-v2'),

  /** Down the ladder, a roll-back, a timer, and a wait that a person ends with changes. */
  async 'parked-and-resumed-v1'(house) {
    const spec = { train: { microBatchSize: 2, activationCheckpointing: false }, policy: { maxHardwareFaults: 1 } };
    const run = await house.start('parked-and-resumed-v1', spec, {
      train: ({ call, input }) => {
        const { microBatchSize } = input.spec.train;
        if (call <= 2) throw failure('OutOfMemory', { phase: 'train', microBatchSize, step: 1 });
        if (call === 3) throw failure('Diverged', { step: 12, rows: [3, 4], value: 'NaN' });
        if (call <= 5) throw failure('HardwareFault', { host: 'gpu-1', step: 14 });
      },
    });
    await run.parked();
    await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    await run.result();
    return run;
  },

  /** A wait that a person's changes cut in on, so that the try which waits is made anew. */
  async 'held-back-v1'(house) {
    const run = await house.start(
      'held-back-v1',
      {},
      {
        train: ({ call }) => {
          if (call === 1) throw failure('HardwareFault', { host: 'gpu-1', step: 14 });
        },
      },
    );
    await run.until('waits', ({ incidents }) => incidents.length === 1);
    await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    await run.result();
    return run;
  },

  /** Tells a webhook that it waits, is promoted and is finished; the first word does not arrive in time. */
  async 'notified-v1'(house) {
    const notify = { url: 'https://example.org/hook', giveUpSeconds: 1 };
    const run = await house.start(
      'notified-v1',
      { promote: { enabled: true }, policy: { maxCrashes: 0, notify } },
      {
        train: ({ call }) => {
          if (call === 1) throw failure('TrainerCrashed', { exitCode: 1, signal: null, step: null, log: '' });
        },
        notify: ({ input }) => {
          if (input.notification.type === 'run.parked') throw new Error('The webhook at example.org answered 500');
        },
      },
    );
    await run.until('has given up', ({ incidents }) => incidents.length > 1);
    await run.resume();
    await run.result();
    return run;
  },

  /** What was served is missing later; then a person gives the run up. */
  async 'started-over-and-aborted-v1'(house) {
    const run = await house.start(
      'started-over-and-aborted-v1',
      { policy: { maxCrashes: 0 } },
      {
        filter: ({ call }) => {
          if (call === 1) throw failure('ArtifactMissing', { uri: 'file:///store/artifacts/convert/x/train.parquet' });
        },
        train: () => {
          throw failure('TrainerCrashed', { exitCode: 1, signal: null, step: null, log: '' });
        },
      },
    );
    await run.parked();
    await run.abort({ reason: 'not worth it' });
    await run.failure();
    return run;
  },
};
