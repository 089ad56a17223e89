/** Runs in which nothing goes wrong, or nothing that a person would hear of, on the real server. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { MOST_NOTES } from '../../activities/trainer/progress.ts';
import { stageNames } from '../../contracts/stages.ts';
import { deferred } from '../fixtures/deferred.ts';
import { progressAt } from '../fixtures/progress.ts';
import { failure } from '../fixtures/scripted-activities.ts';
import { type ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

/** Events of the longest undisturbed run, whatever its number of steps. */
const HISTORY_LIMIT = 150;

suite('an undisturbed run', { concurrency: true }, () => {
  let house: TemporalHouse;
  before(async () => {
    house = await TemporalHouse.open();
  });
  after(() => house.close());

  test('goes through every stage and says what came out', async () => {
    const run = await house.start('through every stage', { model: { source: '/models/tiny' } });
    const result = await run.result();
    assert.equal(result.state, 'done');
    assert.deepEqual(result.accuracy, { base: 0.2, tuned: 0.7, n: 10 });
    assert.equal(result.attempts, 1);
    assert.equal(result.report, 'r/report.md');
    assert.deepEqual(
      result.stages.map(({ name }) => name),
      [...stageNames],
    );

    const status = await run.status();
    assert.equal(status.state, 'done');
    const states = Object.fromEntries(status.stages.map(({ name, state }) => [name, state]));
    const { promote, ...others } = states;
    assert.equal(promote, 'skipped');
    assert.deepEqual(new Set(Object.values(others)), new Set(['done']));
    assert.deepEqual(await run.attributes(), {
      ReverieStage: 'report',
      ReverieState: 'done',
      ReverieModel: '/models/tiny',
      ReverieDataset: 'hf://simplescaling/s1K-1.1',
      ReverieStep: 60,
      ReverieAccuracy: 0.7,
    });
    const details = await run.details();
    assert.match(details, /✓ \*\*train\*\* · 1\.5 s · 60 steps, loss 0\.5000, validation loss 0\.7500/);
    assert.match(details, /base 20\.0 %, tuned 70\.0 %/);
    assert.doesNotMatch(details, /Incidents|Parked/);
  });

  test('gives each activity what its stage is made from, and a summary for the UI', async () => {
    const run = await house.start('inputs', {});
    await run.result();
    assert.equal(run.calls('convert')[0]?.input.dataset.stage, 'dataset');
    assert.equal(run.calls('filter')[0]?.input.model.stage, 'model');
    assert.equal(run.calls('train')[0]?.input.filtered.stage, 'filter');
    const evaluated = run.calls('evaluate').map(({ input }) => [input.which, input.model.stage]);
    assert.deepEqual(Object.fromEntries(evaluated), { base: 'model', tuned: 'train' });
    const { input: report } = run.calls('report')[0] ?? assert.fail();
    assert.equal(report.run.workflowId, 'inputs');
    assert.deepEqual(report.sources.model, run.calls('downloadModel')[0]?.input.model);

    const scheduled = (await run.events()).filter((event) => event.activityTaskScheduledEventAttributes != null);
    assert.ok(scheduled.length > 0 && scheduled.every((event) => event.userMetadata?.summary != null));
  });

  test('has at most 150 events with every note that its GPU workers may send', async () => {
    const told = { train: deferred(), base: deferred(), tuned: deferred() };
    const run = await house.start(
      'longest history',
      {},
      {
        train: () => told.train.promise,
        evaluate: ({ input }) => told[input.which].promise,
      },
    );
    // Notes are far apart, so that each wakes the workflow by itself.
    const tell = async (stage: 'train' | 'eval base' | 'eval tuned', notes: number): Promise<void> => {
      await run.until(`is at ${stage}`, ({ stages }) =>
        stages.some((at) => at.name === stage && at.state === 'running'),
      );
      for (let note = 1; note <= notes; note++) {
        await run.signalProgress(progressAt({ stage, step: 100 * note, steps: 10_000 }));
        await run.until('has heard', ({ progress }) => progress?.stage === stage && progress.step === 100 * note);
      }
    };
    await tell('train', MOST_NOTES.train);
    await tell('eval base', MOST_NOTES.eval);
    told.base.resolve();
    told.train.resolve();
    await tell('eval tuned', MOST_NOTES.eval);
    told.tuned.resolve();
    await run.result();
    const { length } = await run.events();
    console.log(
      `history of an undisturbed run with ${MOST_NOTES.train} + 2 × ${MOST_NOTES.eval} notes: ${length} events`,
    );
    assert.ok(length <= HISTORY_LIMIT, `${length} events`);
  });

  test('served from the store throughout is unchanged, and nothing is scheduled for a GPU', async () => {
    const run = await house.start('all cached', {}, { cached: true });
    const result = await run.result();
    assert.equal(result.state, 'unchanged');
    assert.equal(result.attempts, 0);
    assert.deepEqual(result.accuracy, { base: 0.2, tuned: 0.7, n: 10 });
    assert.ok(result.stages.find(({ name }) => name === 'train')?.cached);
    assert.equal((await run.attributes()).ReverieState, 'unchanged');
    assert.deepEqual(await queuesOf(run), new Set(['reverie']));
  });

  test('trains before it evaluates the base model where both wait for one GPU', async () => {
    const run = await house.start('priorities', { policy: { priority: 2 } });
    await run.result();
    assert.deepEqual(
      run.calls('train').map(({ priority }) => priority),
      [2],
    );
    assert.deepEqual(
      run.calls('evaluate').map(({ priority }) => priority),
      [3, 3],
    );
  });

  test('converts while the model is still on its way', async () => {
    const converted = deferred();
    const run = await house.start(
      'side by side',
      {},
      {
        downloadModel: () => converted.promise,
        convert: () => converted.resolve(),
      },
    );
    assert.equal((await run.result()).state, 'done');
  });

  test('survives preemptions without a line in its history', async () => {
    const run = await house.start(
      'preempted',
      {},
      {
        train: ({ call }) => {
          if (call <= 2) throw failure('Preempted', { step: call });
        },
      },
    );
    const result = await run.result();
    assert.equal(result.attempts, 3);
    assert.deepEqual((await run.status()).incidents, []);
    const events = await run.events();
    const scheduled = events.filter((event) => {
      return event.activityTaskScheduledEventAttributes?.activityType?.name === 'train';
    });
    assert.equal(scheduled.length, 1);
    assert.ok(events.every((event) => event.activityTaskFailedEventAttributes == null));
  });

  test('promotes when it is asked to, and says so in the report', async () => {
    const run = await house.start('promoted', { promote: { enabled: true } });
    await run.result();
    assert.equal(run.calls('promote')[0]?.input.weightsSha256, 'a'.repeat(64));
    assert.equal(run.calls('report')[0]?.input.promote?.promoted, true);
    assert.match(await run.details(), /✓ \*\*promote\*\* · \+50 points \\\| over base/);
  });
});

async function queuesOf(run: ScriptedRun): Promise<Set<string>> {
  const scheduled = (await run.events()).map((event) => event.activityTaskScheduledEventAttributes?.taskQueue?.name);
  return new Set(scheduled.filter((name) => name != null));
}
