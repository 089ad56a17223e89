/** The curve and the small numbers of a finished training, from what its last checkpoint carries. */
import { readFile } from 'node:fs/promises';
import type { TrainSummary } from '../../contracts/stages.ts';
import { type HistoryRecord, historySchema, type TrainerEvent } from '../../contracts/trainer.ts';

export type Plan = Extract<TrainerEvent, { type: 'plan' }>;
export type Done = Extract<TrainerEvent, { type: 'done' }>;

/** Throws where a line is not a record of this version. */
export async function readHistory(file: string): Promise<HistoryRecord[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
  return lines.map((line) => historySchema.parse(JSON.parse(line)));
}

export function leftOutSteps(history: readonly HistoryRecord[]): number[] {
  return history.flatMap((record) => (record.type === 'step' && record.leftOut ? [record.step] : []));
}

export function summarise(
  plan: Plan,
  done: Done,
  history: readonly HistoryRecord[],
  microBatchSize: number,
): TrainSummary {
  const steps = history.filter((record) => record.type === 'step');
  const validations = history.filter((record) => record.type === 'validation');
  const learned = steps.filter(({ leftOut }) => !leftOut);
  return {
    steps: done.step,
    stepsPerEpoch: plan.stepsPerEpoch,
    rows: plan.rows,
    parameters: plan.parameters,
    finalLoss: learned.at(-1)?.loss ?? 0,
    firstValidationLoss: validations[0]?.loss ?? null,
    validationLoss: validations.at(-1)?.loss ?? null,
    weightsSha256: done.weightsSha256 ?? '',
    device: plan.device,
    ranks: plan.ranks,
    recipe: plan.recipe,
    torch: plan.torch,
    stepSeconds: sum(steps.map(({ seconds }) => seconds)),
    tokens: sum(steps.map(({ tokens }) => tokens)),
    peakMemoryBytes: done.peakMemoryBytes,
    leftOutSteps: leftOutSteps(history),
    microBatchSize,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
