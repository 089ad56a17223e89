/** The curve and the small numbers of a finished training, from what its last checkpoint carries. */
import { readFile } from 'node:fs/promises';
import type { TrainSummary } from '../../contracts/stages.ts';
import { type HistoryRecord, historySchema, type TrainerEvent } from '../../contracts/trainer.ts';
import { countSamples } from './samples.ts';

export type Plan = Extract<TrainerEvent, { type: 'plan' }>;
export type Done = Extract<TrainerEvent, { type: 'done' }>;

/** Throws where a line is not a record of this version. */
export function parseHistory(text: string): HistoryRecord[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => historySchema.parse(JSON.parse(line)));
}

export const readHistory = async (file: string): Promise<HistoryRecord[]> => parseHistory(await readFile(file, 'utf8'));

function leftOutSteps(history: readonly HistoryRecord[]): number[] {
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
  const samples = countSamples(history, plan);
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
    stepSeconds: sum(steps.map(({ seconds }) => seconds ?? 0)),
    tokens: sum(steps.map(({ tokens }) => tokens)),
    peakMemoryBytes: done.peakMemoryBytes,
    leftOutSteps: leftOutSteps(history),
    microBatchSize,
    ...(plan.deviceMemoryBytes !== null && { deviceMemoryBytes: plan.deviceMemoryBytes }),
    ...(samples !== null && { samples }),
  };
}

/** As in the artifact: what was learned, without what was measured on the way. */
export const writeHistory = (history: readonly HistoryRecord[]): string =>
  history
    .map((record) => (record.type === 'step' ? { ...record, seconds: undefined, dataSeconds: undefined } : record))
    .map((record) => `${JSON.stringify(record)}\n`)
    .join('');

/** The same for every training that learned the same, so that what depends on the artifact stands too. */
export function trainingRecord({ steps, stepsPerEpoch, rows, parameters, weightsSha256, ...rest }: TrainSummary) {
  const { device, ranks, recipe, torch, leftOutSteps, microBatchSize, samples = null } = rest;
  return {
    ...{ version: 2, steps, stepsPerEpoch, rows, parameters, weightsSha256, samples, leftOutSteps },
    ...{ device, ranks, recipe, torch, microBatchSize },
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
