/** What another try costs in history, and how it waits, on the real server. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { ReverieFailure } from '../../contracts/failures.ts';
import { deferred } from '../fixtures/deferred.ts';
import { failure } from '../fixtures/scripted-activities.ts';
import { type ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

type HistoryEvent = Awaited<ReturnType<ScriptedRun['events']>>[number];

/** Workflow tasks done, what could have woken the workflow for one, and all other events. */
function countEvents(events: readonly HistoryEvent[]) {
  const has = (pattern: RegExp) => (event: HistoryEvent) =>
    Object.entries(event).some(([name, value]) => value != null && pattern.test(name));
  return {
    tasks: events.filter(has(/^workflowTaskCompletedEvent/)).length,
    wakes: events.filter(has(/^(workflowExecutionStarted|activityTask(Completed|Failed)|timerFired)Event/)).length,
    others: events.filter((event) => !has(/^workflowTask/)(event)).length,
  };
}

/** As a real attempt tells that it has looked for its artifact. */
const lookedUp = (error: Error): Error => {
  Object.assign((error as ReverieFailure).details, { lookedUp: true });
  return error;
};

suite('a run', { concurrency: true }, () => {
  let house: TemporalHouse;
  before(async () => {
    house = await TemporalHouse.open();
  });
  after(() => house.close());

  test('takes six events for each failure that it judges, also where it waits before the next try', async () => {
    const counts: Record<string, ReturnType<typeof countEvents>> = {};
    const hung = failure('TrainerHung', { phase: 'train', seconds: 900, step: 5 });
    const broken = failure('HardwareFault', { host: 'a', step: 5 });
    for (const [name, error, times, downloads] of [
      ['undisturbed', hung, 0, 0],
      ['once', hung, 1, 0],
      ['three times', hung, 3, 0],
      ['after a wait', broken, 1, 0],
      ['a download', failure('DiskFull', { path: '/cache' }), 0, 1],
    ] as const) {
      const letGo = deferred();
      const run: ScriptedRun = await house.start(
        `history ${name}`,
        {},
        {
          // Which download ends first decides how often the search attribute changes.
          downloadDataset: async ({ call }) => {
            await run.until('has its model', ({ stages }) => stages[2]?.state === 'done');
            if (call <= downloads) throw error;
          },
          // As on the only GPU: the base model is evaluated as soon as the training lets go of it.
          train: async ({ call }) => {
            if (call > 1) await run.until('has evaluated the base model', ({ accuracy }) => accuracy?.base != null);
            letGo.resolve();
            if (call <= times) throw error;
          },
          evaluate: () => letGo.promise,
        },
      );
      await run.result();
      assert.equal(run.calls('lookUpTrain').length, 1);
      counts[name] = countEvents(await run.events());
    }
    console.log(`history: ${JSON.stringify(counts)}`);
    const more = (name: string): number => (counts[name]?.others ?? 0) - (counts.undisturbed?.others ?? 0);
    // Scheduled, started, failed.
    const names = ['once', 'three times', 'after a wait', 'a download'];
    assert.deepEqual(names.map(more), [3, 3 * 3, 3, 3]);
    // With three events of a task each, six a failure; what runs beside it may share the task with it.
    for (const [name, { tasks, wakes }] of Object.entries(counts)) assert.ok(tasks <= wakes, `${name}: ${tasks} tasks`);
  });

  test('that waits before its next try says until when, and counts no attempt for the wait', async () => {
    const run = await house.start(
      'held back',
      {},
      {
        train: ({ call }) => {
          if (call === 1) throw lookedUp(failure('HardwareFault', { host: 'a', step: 5 }));
        },
      },
    );
    const { stages, incidents } = await run.until('waits', (status) => status.incidents.length === 1);
    assert.match(stages.find(({ name }) => name === 'train')?.note ?? '', /^tried again from \d\d:\d\d:\d\d UTC on$/);
    assert.match(await run.details(), /▶ \*\*train\*\* · tried again from/);
    assert.equal(run.calls('train').length, 1);
    const { attempts } = await run.result();
    const begun = (await run.events()).flatMap(({ activityTaskStartedEventAttributes: started, eventTime }) =>
      started?.attempt === 2 ? [Number(eventTime?.seconds) * 1000] : [],
    );
    assert.ok((begun[0] ?? 0) - Date.parse(incidents[0]?.at ?? '') >= 9_000, `${begun[0]} after ${incidents[0]?.at}`);
    assert.deepEqual([attempts, run.calls('train').length], [2, 2]);
    assert.match((await run.status()).stages.find(({ name }) => name === 'train')?.note ?? '', /^60 steps/);
  });

  test('takes changes over into a try that still waits, and an abort ends it at once', async () => {
    const run = await house.start(
      'changed while it waits',
      {},
      {
        train: () => {
          throw lookedUp(failure('DiskFull', { path: '/cache' }));
        },
      },
    );
    const waits = (tries: number) => run.until('waits', ({ incidents }) => incidents.length === tries);
    await waits(1);
    await run.resume({ changes: { train: { queue: 'reverie-big-gpu' } } });
    await waits(2);
    assert.deepEqual(
      run.calls('train').map(({ queue }) => queue),
      ['reverie-gpu', 'reverie-big-gpu'],
    );
    assert.equal((await run.status()).attempts, 3, 'two that failed, and the one that waits');
    await run.abort({ reason: 'not worth it' });
    assert.equal((await run.failure()).type, 'Aborted');
    assert.equal(run.calls('train').length, 2);
    assert.equal((await run.status()).attempts, 2);
  });
});
