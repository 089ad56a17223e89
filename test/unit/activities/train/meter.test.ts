import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meter } from '../../../../activities/train/meter.ts';
import type { TrainerEvent } from '../../../../contracts/trainer.ts';
import { checkpoint, phase, plan, step } from './attempt.ts';

function metered(doneBefore: number, events: readonly [number, TrainerEvent][]): Meter {
  const meter = new Meter(doneBefore);
  for (const [at, event] of events) meter.take(event, at);
  return meter;
}
const spentOf = (spent: object) => Object.fromEntries(Object.entries(spent).filter(([, seconds]) => seconds !== 0));

/** Loads for 4 s, trains from step 3, saves for half a second, validates for 2 s. */
const events: [number, TrainerEvent][] = [
  [1, phase('start')],
  [1, phase('load')],
  [4, plan({ fromStep: 3, steps: 6 })],
  [4, phase('train')],
  [5, step(4)],
  [6, step(5)],
  [6, phase('save')],
  [6.5, phase('train')],
  [6.5, phase('validation')],
  [8.5, phase('train')],
  [9.5, step(6)],
];

test('divides the whole time of an attempt by what it went into', () => {
  const meter = metered(4, [...events, [10, phase('export')]]);
  assert.deepEqual(spentOf(meter.spent(12, 'well')), {
    starting: 4,
    replayed: 0.75,
    productive: 1.5,
    waitingForData: 0.75,
    // The last checkpoint is waited for.
    saving: 1,
    validation: 2,
    finishing: 2,
  });
});

test('what an attempt did since its last sign is lost when it ends badly', () => {
  assert.equal(metered(0, events.slice(0, 6)).spent(6.75, 'badly').lost, 0.75);
  const loading = metered(0, events.slice(0, 2)).spent(900, 'badly');
  assert.deepEqual(spentOf(loading), { starting: 1, lost: 899 });
});

test('a stop on notice loses nothing: its last checkpoint and the upload are a save', () => {
  const meter = metered(0, [
    ...events.slice(0, 6),
    [6, phase('save')],
    [6, phase('train')],
    [8, checkpoint(5, 'preempted')],
  ]);
  const spent = meter.spent(11, 'badly');
  assert.equal(spent.saving, 5);
  assert.equal(spent.lost, 0);
});

test('a save behind training takes nothing from the step in which it ends', () => {
  const meter = metered(0, [...events.slice(0, 5), [5.5, checkpoint(4, 'cadence')], [6, step(5)]]);
  assert.deepEqual(spentOf(meter.spent(6)), { starting: 4, productive: 1.5, waitingForData: 0.5 });
});
