/** What a run tells its webhook, on the real server; the receiver is a script. Deliveries: test/unit/activities/notify. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { failure, type Script, untilCancelled } from '../fixtures/scripted-activities.ts';
import { type ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

const crashesOnce: Script = {
  train: ({ call }) => {
    if (call === 1) throw failure('TrainerCrashed', { exitCode: 1, signal: null, step: 3, log: '' }, 'exit 1');
  },
};
const notify = (more: object = {}) => ({ maxCrashes: 0, notify: { url: 'https://example.org/hook', ...more } });

function told(run: ScriptedRun) {
  return run.calls('notify').map(({ input }) => input.notification);
}

suite('notifications', { concurrency: true }, () => {
  let house: TemporalHouse;
  before(async () => {
    house = await TemporalHouse.open();
  });
  after(() => house.close());

  test('tell when the run is parked, promoted and finished, each under an id of its own', async () => {
    const run = await house.start('told', { policy: notify(), promote: { enabled: true } }, crashesOnce);
    await run.parked();
    await run.until('has told', () => run.calls('notify').length > 0);
    await run.resume();
    await run.result();
    const all = told(run);
    assert.deepEqual(
      all.map(({ type, data }) => [type, data.state, data.message]),
      [
        ['run.parked', 'parked', 'exit 1'],
        ['run.promoted', 'running', '+50 points | over base'],
        ['run.finished', 'done', 'Better'],
      ],
    );
    assert.equal(new Set(all.map(({ id }) => id)).size, 3);
    assert.equal(all[0]?.data.stage, 'train');
    assert.match(all[0]?.data.advice ?? '', /resume/);
    assert.equal(all[2]?.data.report, 'r/report.md');
    assert.equal(run.calls('notify')[0]?.queue, 'reverie');
  });

  test('tell of aborted and of cancelled runs', async () => {
    const aborted = await house.start('told aborted', { policy: notify() }, { train: untilCancelled });
    const cancelled = await house.start('told cancelled', { policy: notify() }, { train: untilCancelled });
    for (const run of [aborted, cancelled]) await run.until('trains', () => run.calls('train').length > 0);
    await aborted.abort({ reason: 'wrong data' });
    await cancelled.cancel();
    await aborted.failure();
    assert.equal((await cancelled.failure()).type, 'Cancelled');
    const [first] = told(aborted);
    assert.deepEqual([first?.type, first?.data.state], ['run.failed', 'aborted']);
    assert.match(first?.data.message ?? '', /wrong data/);
    assert.deepEqual(
      told(cancelled).map(({ type, data }) => [type, data.state]),
      [['run.failed', 'aborted']],
    );
  });

  test('are tried again under the same id, and given up without any harm to the run', async () => {
    const run = await house.start(
      'told nobody',
      { policy: notify({ giveUpSeconds: 4 }) },
      {
        ...crashesOnce,
        notify: ({ input }) => {
          if (input.notification.type === 'run.parked') throw new Error('The webhook at example.org answered 500');
        },
      },
    );
    await run.parked();
    const { incidents, state } = await run.until('has given up', ({ incidents }) => incidents.length > 1);
    assert.equal(state, 'parked');
    const { type, message, verdict } = incidents.at(-1) ?? assert.fail();
    assert.deepEqual([type, verdict], ['NotificationGivenUp', 'go-on']);
    assert.match(message, /^That the run is parked was not delivered within 4 s: .*500/);
    const tries = told(run);
    assert.ok(tries.length > 1, `${tries.length} tries`);
    assert.equal(new Set(tries.map(({ id }) => id)).size, 1);
    await run.resume();
    assert.equal((await run.result()).state, 'done');
  });

  test('are made for what is asked, and for nothing without an address', async () => {
    const some = await house.start('told some', { policy: notify({ events: ['failed'] }) });
    const none = await house.start('told none', {});
    await Promise.all([some.result(), none.result()]);
    assert.deepEqual([...told(some), ...told(none)], []);
  });
});
