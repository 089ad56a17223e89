/** Where a training's time went, as shares, and what would have saved the most of it. */
import { goodput, type Spending, spendings, type TrainingLedger, wallSeconds } from '../../contracts/ledger.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { TrainSummary } from '../../contracts/stages.ts';

export type AdviceId = 'data' | 'full-precision' | 'memory' | 'saves' | 'starts' | 'replays' | 'host';

export interface GoodputFacts {
  /** Share of the wall time in which training came forward. */
  share: number;
  wallSeconds: number;
  /** Those that took any time, in the ledger's order; in sum the whole. */
  parts: { spending: Spending; seconds: number; share: number }[];
  advice: AdviceId[];
}

/** Shares of the wall time from which advice is worth its line. */
const WORTH = { waitingForData: 0.05, saving: 0.02, starting: 0.1, replayed: 0.05, waitingForHost: 0.1 };
/** Below this share of a GPU's memory, twice the micro-batch is likely to fit. */
const HALF_EMPTY = 0.45;

export function goodputFacts(
  ledger: TrainingLedger | null | undefined,
  train: TrainSummary,
  spec: RunSpec,
): GoodputFacts | null {
  const share = ledger ? goodput(ledger) : null;
  if (!ledger || share === null) return null;
  const wall = wallSeconds(ledger);
  const parts = spendings
    .map((spending) => ({ spending, seconds: ledger.seconds[spending], share: ledger.seconds[spending] / wall }))
    .filter(({ seconds }) => seconds > 0);
  const above = (name: keyof typeof WORTH): boolean => ledger.seconds[name] / wall > WORTH[name];
  const { deviceMemoryBytes, peakMemoryBytes, microBatchSize, ranks, device, recipe } = train;
  const roomy = deviceMemoryBytes !== undefined && peakMemoryBytes < HALF_EMPTY * deviceMemoryBytes;
  const advice: [AdviceId, boolean][] = [
    ['full-precision', device !== 'cpu' && recipe === 'fp32'],
    ['memory', roomy && 2 * microBatchSize * ranks <= spec.train.globalBatchSize],
    ['data', above('waitingForData')],
    ['saves', above('saving')],
    ['replays', above('replayed')],
    ['starts', above('starting')],
    ['host', above('waitingForHost')],
  ];
  return { share, wallSeconds: wall, parts, advice: advice.flatMap(([id, holds]) => (holds ? [id] : [])) };
}
