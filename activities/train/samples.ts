/** Counts over all attempts which samples a training was fed: each once an epoch, none twice, none dropped. */
import type { SampleLedger } from '../../contracts/stages.ts';
import type { HistoryRecord } from '../../contracts/trainer.ts';

/**
 * `history` is of the steps that made the weights, whichever attempt did them. Null where a step does not tell its rows.
 * Throws where the rows of an epoch are not the data's, each once: such weights are never handed on.
 */
export function countSamples(
  history: readonly HistoryRecord[],
  { rows, stepsPerEpoch }: { rows: number; stepsPerEpoch: number },
): SampleLedger | null {
  const steps = history.filter((record) => record.type === 'step');
  const epochs = Math.ceil(steps.length / stepsPerEpoch);
  const ledger: SampleLedger = { rows, epochs, seen: 0, duplicates: 0, dropped: 0, leftOut: 0 };
  for (let epoch = 0; epoch < epochs; epoch++) {
    const inEpoch = steps.filter(({ step }) => Math.floor((step - 1) / stepsPerEpoch) === epoch);
    const fed = inEpoch.flatMap(({ rows: batch = [], leftOut }) => {
      if (leftOut) ledger.leftOut += batch.length;
      return batch;
    });
    if (inEpoch.some((record) => record.rows === undefined)) return null;
    const different = new Set(fed).size;
    ledger.seen += fed.length;
    ledger.duplicates += fed.length - different;
    const whole = (epoch + 1) * stepsPerEpoch <= steps.length;
    if (whole) ledger.dropped += rows - new Set(fed.filter((row) => row < rows)).size;
  }
  if (ledger.duplicates === 0 && ledger.dropped === 0) return ledger;
  throw new Error(
    `Training saw ${ledger.duplicates} samples twice in an epoch and dropped ${ledger.dropped}, of ${rows} rows in ${epochs} epochs; expected each once an epoch; its weights are not handed on: report this with the run's history.`,
  );
}
