/** What a run does about each failure by itself, on the real server. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { ReverieFailure } from '../../contracts/failures.ts';
import { deferred } from '../fixtures/deferred.ts';
import { eventually } from '../fixtures/eventually.ts';
import { progressAt } from '../fixtures/progress.ts';
import { failure, untilCancelled } from '../fixtures/scripted-activities.ts';
import { TemporalHouse } from '../fixtures/temporal-house.ts';

const outOfMemory = (microBatchSize: number): Error =>
  failure(
    'OutOfMemory',
    { phase: 'train', microBatchSize, step: 3 },
    `memory ran out at micro-batch ${microBatchSize}`,
  );

suite('a run', { concurrency: true }, () => {
  let house: TemporalHouse;
  before(async () => {
    house = await TemporalHouse.open();
  });
  after(() => house.close());

  test('out of memory goes down the ladder at the same global batch, parks at its end, and resumes elsewhere', async () => {
    const run = await house.start(
      'ladder',
      { train: { activationCheckpointing: false } },
      {
        train: ({ input }) => {
          if (input.spec.train.queue === 'reverie-gpu') throw outOfMemory(input.spec.train.microBatchSize);
        },
      },
    );
    const { parked, incidents } = await run.parked();
    const tried = () =>
      run
        .calls('train')
        .map(({ input }) => [input.spec.train.microBatchSize, input.spec.train.activationCheckpointing]);
    assert.deepEqual(tried(), [
      [4, false],
      [2, false],
      [1, false],
      [1, true],
    ]);
    assert.ok(run.calls('train').every(({ input }) => input.spec.train.globalBatchSize === 16));
    assert.deepEqual(
      incidents.map(({ verdict }) => verdict),
      ['shrink', 'shrink', 'shrink', 'park'],
    );
    assert.match(parked?.advice ?? '', /"queue":"NAME"/);
    assert.deepEqual((await run.attributes()).ReverieState, 'parked');
    assert.equal((await run.attributes()).ReverieStage, 'train');

    const said = await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    assert.equal(said, 'The changes hold from the next attempt on. The run goes on with train.');
    assert.equal((await run.result()).attempts, 5);
    assert.deepEqual(tried().at(-1), [1, true], 'the ladder is remembered');
    assert.ok(run.calls('train').at(-1)?.queue === 'reverie-big-gpu');
    assert.equal((await run.attributes()).ReverieState, 'done');
  });

  test('parks at its cap, refuses to go on under it, and goes on with the same training under a higher one', async () => {
    const spec = { policy: { maxGpuHours: 2, gpuHourPrice: 3 } };
    const run = await house.start('capped', spec, {
      train: ({ call }) => {
        if (call > 1) return;
        const error = failure('CapReached', { maxGpuHours: 2 }, 'the hours are used up') as ReverieFailure;
        throw Object.assign(error, { details: { ...error.details, gpuSeconds: 7300, checkpointStep: 40 } });
      },
    });
    const { parked, cost } = await run.parked();
    assert.deepEqual(cost, { gpuHours: 7300 / 3600, maxGpuHours: 2, amount: (3 * 7300) / 3600, currency: 'USD' });
    assert.match(parked?.holds ?? '', /the checkpoint of step 40/);
    assert.match(await run.details(), /Cost so far: 2\.03 of at most 2 GPU-hours, 6\.08 USD\./);
    await assert.rejects(run.resume({}), ({ cause }: Error) => /2\.03 GPU-hours are spent/.test(String(cause)));
    assert.equal((await run.status()).state, 'parked');
    await run.resume({ changes: { policy: { maxGpuHours: 4 } } });
    await run.result();
    const last = run.calls('train').at(-1)?.input;
    assert.deepEqual([last?.spec.policy.maxGpuHours, last?.seenStep], [4, 40]);
  });

  test('that diverged goes back and leaves the named batches out, then parks', async () => {
    const run = await house.start(
      'diverged',
      {},
      {
        train: ({ call }) => {
          if (call <= 3) throw failure('Diverged', { step: 10 * call, rows: [1, 2], value: 'NaN' });
        },
      },
    );
    await run.parked();
    assert.deepEqual(
      run.calls('train').map(({ input }) => input.leaveOutSteps),
      [[], [10], [10, 20]],
    );
    await run.resume({});
    await run.result();
    assert.deepEqual(run.calls('train').at(-1)?.input.leaveOutSteps, [10, 20], 'what was left out stays out');
  });

  test('begins another training without the steps of the one before', async () => {
    const run = await house.start(
      'another training',
      { policy: { maxDivergences: 0 } },
      {
        train: async ({ call }) => {
          if (call > 1) return;
          await run.signalProgress(progressAt({ step: 25, checkpointStep: 20 }));
          await run.until('has seen a checkpoint', ({ progress }) => progress?.checkpointStep === 20);
          throw failure('Diverged', { step: 30, rows: [], value: 'inf' });
        },
      },
    );
    assert.match((await run.parked()).parked?.holds ?? '', /the checkpoint of step 20/);
    await run.resume({ changes: { train: { optimizer: { learningRate: 1e-6 } } } });
    await run.result();
    const { input } = run.calls('train').at(-1) ?? assert.fail();
    assert.equal(input.spec.train.optimizer.learningRate, 1e-6);
    assert.equal(input.spec.train.optimizer.warmupRatio, run.calls('train')[0]?.input.spec.train.optimizer.warmupRatio);
    assert.equal(input.seenStep, null);
    assert.deepEqual(input.leaveOutSteps, []);
  });

  test('tells the next attempt at the same training which checkpoint it has seen', async () => {
    const run = await house.start(
      'seen step',
      {},
      {
        train: async ({ call }) => {
          if (call > 1) return;
          await run.signalProgress(progressAt({ step: 25, checkpointStep: 20 }));
          await run.until('has seen a checkpoint', ({ progress }) => progress?.checkpointStep === 20);
          throw failure('TrainerHung', { phase: 'train', seconds: 900, step: 25 });
        },
      },
    );
    await run.result();
    assert.deepEqual(
      run.calls('train').map(({ input }) => input.seenStep),
      [null, 20],
    );
  });

  test('whose trainer hangs tries within its budget, then waits, and has the whole budget again', async () => {
    const hung = failure('TrainerHung', { phase: 'compile', seconds: 1800, step: null });
    const run = await house.start(
      'hung',
      { policy: { maxHangs: 2 } },
      {
        train: ({ call }) => {
          if (call <= 5) throw hung;
        },
      },
    );
    await run.parked();
    assert.equal(run.calls('train').length, 3);
    await run.resume({});
    await run.until('has tried again', ({ incidents }) => incidents.length === 5);
    await run.result();
    assert.equal(run.calls('train').length, 6);
  });

  test('accepts a lost checkpoint when a person says so', async () => {
    const run = await house.start(
      'checkpoint lost',
      {},
      {
        train: async ({ call }) => {
          if (call > 1) return;
          await run.signalProgress(progressAt({ checkpointStep: 40 }));
          await run.until('has seen a checkpoint', ({ progress }) => progress?.checkpointStep === 40);
          throw failure('CheckpointLost', { seenStep: 40, foundStep: 20 });
        },
      },
    );
    await run.parked();
    await run.resume({});
    await run.result();
    assert.deepEqual(
      run.calls('train').map(({ input }) => input.seenStep),
      [null, null],
    );
  });

  test('that misses an artifact starts over with pinned sources, twice, then waits', async () => {
    const run = await house.start(
      'artifact missing',
      {},
      {
        convert: ({ call }) => {
          if (call <= 3) throw failure('ArtifactMissing', { uri: 'file:///store/artifacts/dataset/x' });
        },
      },
    );
    await run.parked();
    assert.equal(run.calls('downloadDataset').length, 3);
    assert.equal(run.calls('resolve').length, 1);
    await run.resume({});
    const result = await run.result();
    assert.equal(result.state, 'done');
    assert.equal(run.calls('downloadDataset').length, 4);
    assert.equal(run.calls('train').length, 1);
  });

  test('that starts over waits for what was at work, and still counts what it made as made', async () => {
    let atWork = 0;
    let mostAtWork = 0;
    const run = await house.start(
      'start over in mid-training',
      {},
      {
        train: async (at) => {
          mostAtWork = Math.max(mostAtWork, ++atWork);
          // A trainer takes its time to let go.
          if (at.call === 1) await untilCancelled(at, 500).finally(() => atWork--);
        },
        evaluate: ({ call }) => {
          if (call === 1) throw failure('ArtifactMissing', { uri: 'file:///store/artifacts/model/x' });
        },
      },
    );
    const result = await run.result();
    assert.equal(run.calls('train').length, 2);
    assert.equal(mostAtWork, 1);
    assert.equal(result.state, 'done');
    assert.ok(result.stages.every(({ cached }) => !cached));
  });

  test('whose evaluation is out of memory parks and leaves the training as it is', async () => {
    const run = await house.start(
      'eval out of memory',
      {},
      {
        evaluate: ({ input }) => {
          if (input.spec.eval.shardSize > 1) throw outOfMemory(input.spec.eval.shardSize);
        },
      },
    );
    const { parked } = await run.until('is parked twice', ({ incidents }) => incidents.length === 2);
    assert.match(parked?.stage ?? '', /^eval/);
    assert.match(parked?.advice ?? '', /"shardSize":1/);
    await run.resume({ changes: { eval: { shardSize: 1 } } });
    await run.result();
    assert.deepEqual(
      run.calls('train').map(({ input }) => input.spec.train.microBatchSize),
      [4],
    );
    assert.equal(run.calls('report')[0]?.input.spec.eval.shardSize, 1);
  });

  test('with a bad spec fails at once in words, before anything is downloaded', async () => {
    const run = await house.start('bad spec', { train: { epoch: 3 } } as object);
    const { type, message } = await run.failure();
    assert.equal(type, 'InvalidSpec');
    assert.match(
      message,
      /train\.epoch is not a field of the run spec; expected one of .*; did you mean train\.epochs\?/,
    );
    assert.deepEqual(run.calls('downloadDataset'), []);
    assert.equal((await run.attributes()).ReverieState, 'failed');
    assert.equal((await run.status()).state, 'failed');
  });

  test('with bad data fails and ends the download beside it', async () => {
    let cancelled = false;
    const run = await house.start(
      'bad data',
      {},
      {
        convert: () => {
          throw failure('DatasetRejected', { problems: ['x'] }, 'rows.jsonl, line 3, is not JSON; …');
        },
        downloadModel: async (at) => {
          await untilCancelled(at).finally(() => {
            cancelled = true;
          });
        },
      },
    );
    assert.deepEqual(await run.failure(), { type: 'DatasetRejected', message: 'rows.jsonl, line 3, is not JSON; …' });
    await eventually('the download has ended', async () => cancelled || null);
    assert.equal((await run.attributes()).ReverieState, 'failed');
  });

  test('that fails beside its training ends the trainer first', async () => {
    let stopped = false;
    const training = deferred();
    const run = await house.start(
      'fails beside training',
      {},
      {
        train: async (at) => {
          training.resolve();
          await untilCancelled(at, 500).finally(() => {
            stopped = true;
          });
        },
        evaluate: async () => {
          await training.promise;
          throw failure('ModelRejected', { problems: ['x'] });
        },
      },
    );
    assert.equal((await run.failure()).type, 'ModelRejected');
    assert.ok(stopped);
  });

  test('that cannot be resolved for want of a store waits like any stage', async () => {
    const run = await house.start(
      'store unavailable',
      { policy: { maxStoreFailures: 0 } },
      {
        resolve: ({ call }) => {
          if (call === 1) throw failure('StoreUnavailable', { operation: 'list' }, 's3://x does not answer');
        },
      },
    );
    assert.equal((await run.parked()).parked?.stage, 'resolve');
    await run.resume({ changes: { train: { epochs: 1 } } });
    await run.result();
    assert.equal(run.calls('train')[0]?.input.spec.train.epochs, 1);
  });
});
