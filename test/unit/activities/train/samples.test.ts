import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countSamples } from '../../../../activities/train/samples.ts';
import type { HistoryRecord } from '../../../../contracts/trainer.ts';
import { step } from './attempt.ts';

const plan = { rows: 5, stepsPerEpoch: 3 };
const batches = [[4, 0], [2, 1], [3], [1, 3], [0, 2]];
function history(rows: readonly (readonly number[] | undefined)[] = batches): HistoryRecord[] {
  return rows.map((batch, index) => {
    const { at: _, ...record } = step(index + 1, { leftOut: index === 1 }) as HistoryRecord & { at: number };
    return { ...record, rows: batch && [...batch] } as HistoryRecord;
  });
}

test('finds each sample once an epoch, in an epoch that is not over too', () => {
  const ledger = { rows: 5, epochs: 2, seen: 9, duplicates: 0, dropped: 0, leftOut: 2 };
  assert.deepEqual(countSamples(history(), plan), ledger);
});

test('hands on no weights that saw a sample twice in an epoch, or not at all', () => {
  assert.throws(() => countSamples(history([...batches.slice(0, 3), [1, 3], [3, 2]]), plan), /saw 1 samples twice/);
  assert.throws(() => countSamples(history([[4, 0], [2], [3]]), plan), /dropped 1, of 5 rows/);
});

test('proves nothing where an earlier version did not tell the rows', () => {
  assert.equal(countSamples(history([...batches.slice(0, 4), undefined]), plan), null);
});
