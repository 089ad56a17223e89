/** What people can do with a run, and what it answers them, on the real server. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred } from '../fixtures/deferred.ts';
import { progressAt } from '../fixtures/progress.ts';
import { type At, failure, type Script, untilCancelled } from '../fixtures/scripted-activities.ts';
import { type ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

const SECONDS = 1 / 3600;
const crash = (): Error =>
  failure('TrainerCrashed', { exitCode: 1, signal: null, step: 3, log: '' }, 'The trainer ended with exit 1');
/** Parks in train at once; from the second call on it trains. */
const crashesOnce: Script = {
  train: ({ call }: At<'train'>) => {
    if (call === 1) throw crash();
  },
};
const parkAtOnce = { maxCrashes: 0 };

suite('people', { concurrency: true }, () => {
  let house: TemporalHouse;
  before(async () => {
    house = await TemporalHouse.open();
  });
  after(() => house.close());

  test('read in the details pane why a run waits, what it holds and what to press', async () => {
    const run = await house.start('what to press', { policy: parkAtOnce }, crashesOnce);
    const { parked } = await run.parked();
    const details = await run.details();
    assert.match(details, /^### Parked in train: the run waits for you\n\n```\nThe trainer ended with exit 1\n```/);
    assert.match(details, /\*\*Kept meanwhile:\*\* every finished stage, and no checkpoint yet/);
    assert.match(details, /Then press \*\*More Actions\*\* → \*\*Send an Update\*\* → `resume` with `\{\}`/);
    assert.match(details, /\*\*To give up:\*\* .* → `abort`/);
    assert.ok(details.includes((parked?.until ?? '?').slice(0, 16).replace('T', ' ')));
    await run.resume();
    await run.result();
    assert.equal(await updatesIn(run), 1);
    assert.doesNotMatch(await run.details(), /Parked/);
  });

  test('who do not come let a parked run expire', async () => {
    const run = await house.start(
      'expired',
      { policy: { ...parkAtOnce, parkDeadlineHours: 1.5 * SECONDS } },
      crashesOnce,
    );
    const { type, message } = await run.failure();
    assert.equal(type, 'Expired');
    assert.match(
      message,
      /^Nobody resumed the run within .* h\. It was parked in train: The trainer ended with exit 1$/,
    );
    assert.equal((await run.attributes()).ReverieState, 'expired');
    assert.equal((await run.status()).parked, null);
  });

  test('who reset an expired run to the very task that ended it see it go on', async () => {
    const policy = { ...parkAtOnce, parkDeadlineHours: 1.5 * SECONDS };
    const run = await house.start('reset at its end', { policy }, crashesOnce);
    assert.equal((await run.failure()).type, 'Expired');
    // Longer than the workflow takes for a late worker: a person has come since.
    await sleep(31_000);
    const again = await run.reset('last');
    assert.equal((await again.result()).state, 'done');
    assert.equal(again.calls('train').length, 2);
  });

  test('cannot resume a run that is not parked, and leave no trace in its history', async () => {
    const run = await house.start('not parked', {}, { train: untilCancelled });
    await atWork(run);
    await assert.rejects(run.resume({}), refusal(/The run is running, not parked/));
    await assert.rejects(run.resume(), refusal(/The run is running, not parked/));
    await assert.rejects(run.resume({ changes: { train: {} } }), refusal(/not parked/));
    assert.deepEqual(await updatesIn(run), 0);
    await run.abort();
    await run.failure();
  });

  test('are told in words what is wrong with their changes', async () => {
    const run = await house.start('wrong changes', { policy: parkAtOnce }, crashesOnce);
    await run.parked();
    await assert.rejects(
      run.resume({ changes: { train: { microBatch: 1 } } }),
      refusal(/The changes were not taken\. train\.microBatch is not a field .* did you mean train\.microBatchSize\?/),
    );
    await assert.rejects(run.resume({ change: {} }), refusal(/resume does not know change; expected only "changes"/));
    await assert.rejects(run.resume([]), refusal(/resume got \[\]; expected an object/));
    await assert.rejects(run.resume(null), refusal(/resume got null; expected an object/));
    await assert.rejects(
      run.resume({ changes: { train: { microBatchSize: 3 } } }),
      refusal(/globalBatchSize 16 is not a multiple of train\.microBatchSize 3/),
    );
    assert.equal((await run.status()).state, 'parked');
    await run.resume({});
    await run.result();
  });

  test('cannot change what is finished, but can move what is to come', async () => {
    const run = await house.start(
      'finished',
      { policy: parkAtOnce },
      {
        evaluate: ({ call, input }) => {
          if (input.which === 'tuned' && call === 2) throw crash();
        },
      },
    );
    const { parked } = await run.parked();
    assert.equal(parked?.stage, 'eval tuned');
    await assert.rejects(
      run.resume({ changes: { train: { epochs: 1 } } }),
      refusal(/would alter train, which is finished/),
    );
    await assert.rejects(
      run.resume({ changes: { eval: { seed: 1 } } }),
      refusal(/would alter eval base, which is finished/),
    );
    await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    await run.result();
    assert.equal(run.calls('evaluate').at(-1)?.queue, 'reverie-big-gpu');
    assert.equal(run.calls('report')[0]?.input.spec.train.epochs, 3);
  });

  test('may change a training at work: it holds from the next attempt on, and the report tells what was followed', async () => {
    const changed = deferred();
    const run = await house.start('at work', {}, { train: () => changed.promise });
    await atWork(run);
    assert.equal(
      await run.resume({ changes: { train: { seed: 7 } } }),
      'The changes hold from the next attempt on. The run goes on.',
    );
    changed.resolve();
    await run.result();
    assert.equal(run.calls('train').length, 1);
    assert.equal(run.calls('report')[0]?.input.spec.train.seed, run.calls('train')[0]?.input.spec.train.seed);
  });

  test('who press resume at once start one attempt', async () => {
    const run = await house.start('two at once', { policy: parkAtOnce }, crashesOnce);
    await run.parked();
    const pressed = await Promise.allSettled([
      run.resume({ changes: { train: { epochs: 1 } } }),
      run.resume({ changes: { train: { seed: 5 } } }),
      run.resume({}),
    ]);
    assert.ok(pressed.some(({ status }) => status === 'fulfilled'));
    await run.result();
    assert.equal(run.calls('train').length, 2);
  });

  test('who abort end the run, its trainer first, and are named in the reason', async () => {
    let stopped = false;
    const run = await house.start(
      'aborted',
      {},
      {
        train: async (at) => {
          await untilCancelled(at, 500).finally(() => {
            stopped = true;
          });
        },
      },
    );
    await atWork(run);
    assert.match(await run.abort({ reason: 'wrong data' }), /is being aborted/);
    const { type, message } = await run.failure();
    assert.ok(stopped);
    assert.equal(type, 'Aborted');
    assert.match(message, /^Aborted by a person: wrong data\./);
    assert.equal((await run.attributes()).ReverieState, 'aborted');
    assert.equal((await run.status()).state, 'aborted');
  });

  test('can abort a parked run', async () => {
    const run = await house.start('parked and aborted', { policy: parkAtOnce }, crashesOnce);
    await run.parked();
    await run.abort();
    assert.equal((await run.failure()).type, 'Aborted');
    assert.equal(run.calls('train').length, 1);
  });

  test('who cancel from outside have a cancelled run that counts as aborted', async () => {
    const run = await house.start('cancelled', {}, { train: untilCancelled });
    await atWork(run);
    await run.cancel();
    assert.equal((await run.failure()).type, 'Cancelled');
    assert.equal((await run.attributes()).ReverieState, 'aborted');
  });

  test('cannot stop a run with a signal that makes no sense', async () => {
    const released = deferred();
    const run = await house.start('senseless signal', {}, { train: () => released.promise });
    await atWork(run);
    for (const senseless of [
      {},
      null,
      'x',
      { ...progressAt({}), stage: 'no such' },
      { ...progressAt({}), loss: 'NaN' },
    ]) {
      await run.signalProgress(senseless as object);
    }
    const at = '2026-11-24T03:04:05.000Z';
    const notice = { type: 'CheckpointPassedOver', message: 'step-20 is passed over', at };
    const notices = [null, 'x', { ...notice, type: 'Preempted' }, { ...notice, message: 7 }, notice, notice];
    await run.signalProgress({ ...progressAt({ step: 7 }), notices } as object);
    await run.until('hears on', ({ progress }) => progress?.step === 7);
    const { incidents } = await run.status();
    assert.deepEqual(
      incidents.map(({ type, message }) => [type, message]),
      [[notice.type, notice.message]],
    );
    released.resolve();
    assert.equal((await run.result()).state, 'done');
  });

  test('who reset a failed run have their changes taken over to the new one', async () => {
    const run = await house.start(
      'reset',
      { policy: parkAtOnce },
      {
        ...crashesOnce,
        report: ({ call }) => {
          if (call === 1) throw failure('InvalidSpec', { problems: [] }, 'no report');
        },
      },
    );
    await run.parked();
    await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    assert.equal((await run.failure()).message, 'no report');

    const again = await run.reset('first');
    assert.equal((await again.result()).state, 'done');
    assert.deepEqual(
      again.calls('train').map(({ queue }) => queue),
      ['reverie-gpu', 'reverie-big-gpu', 'reverie-big-gpu'],
    );
    assert.equal((await again.attributes()).ReverieState, 'done');
  });

  test('who reset a run in mid-training see it go on as after a lost worker', async () => {
    const run = await house.start(
      'reset in training',
      {},
      {
        train: async (at) => {
          if (at.call === 1) await untilCancelled(at);
        },
      },
    );
    await atWork(run);
    const again = await run.reset('last');
    assert.equal((await again.result()).state, 'done');
    assert.deepEqual((await again.status()).incidents, []);
    assert.equal(again.calls('train').length, 2);
    assert.equal(again.calls('filter').length, 1);
  });
});

async function atWork(run: ScriptedRun): Promise<void> {
  await run.until('is training', () => run.calls('train').length > 0);
  await run.until('has evaluated', ({ stages }) => stages.some((at) => at.name === 'eval base' && at.state === 'done'));
}

/** Updates that a history tells of: those that were accepted. */
async function updatesIn(run: ScriptedRun): Promise<number> {
  const events = await run.events();
  return events.filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes != null).length;
}

/** The text that a person reads where the update is refused. */
const refusal =
  (text: RegExp) =>
  (error: unknown): true => {
    const { cause } = error as Error;
    assert.match(cause instanceof Error ? cause.message : String(error), text);
    return true;
  };
