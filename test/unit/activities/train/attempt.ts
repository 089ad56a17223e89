/** A record of an attempt, and the events of its trainer, with what a test cares about laid over them. */
import { newRecord } from '../../../../activities/train/account.ts';
import type { Attempt } from '../../../../activities/train/attempts.ts';
import type { TrainerEvent } from '../../../../contracts/trainer.ts';

export const STARTED = '2026-11-24T03:00:00.000Z';

export function attemptAt(number: number, over: Partial<Attempt> = {}): Attempt {
  const prefix = `attempt-${number}`;
  const head = { prefix, workflowId: 'w', attempt: number, host: `host-${number}`, gpus: 0, startedAt: STARTED };
  const record = newRecord({ ...head, leaveOutSteps: [], microBatchSize: 2 }, []);
  return { ...record, number, fromStep: 0, ...over };
}

type Of<T extends TrainerEvent['type']> = Extract<TrainerEvent, { type: T }>;

export const phase = (phase: Of<'phase'>['phase']): TrainerEvent => ({ type: 'phase', at: 0, phase });

export const plan = (over: Partial<Of<'plan'>> = {}): TrainerEvent => ({
  type: 'plan',
  at: 0,
  rows: 80,
  stepsPerEpoch: 10,
  steps: 30,
  parameters: 1000,
  ranks: 1,
  device: 'cpu',
  torch: '2.11.0',
  recipe: 'fp32',
  threads: 1,
  fromStep: 0,
  deviceMemoryBytes: null,
  ...over,
});

export const step = (step: number, over: Partial<Of<'step'>> = {}): TrainerEvent => ({
  type: 'step',
  at: 0,
  step,
  epoch: 0,
  loss: 1 / step,
  learningRate: 1e-6,
  gradNorm: 1,
  tokens: 100,
  maskedTokens: 50,
  seconds: 1,
  dataSeconds: 0.25,
  leftOut: false,
  rows: [step],
  ...over,
});

export const checkpoint = (step: number, reason: Of<'checkpoint'>['reason']): TrainerEvent => ({
  type: 'checkpoint',
  at: 0,
  step,
  path: `/run/step-${step}`,
  bytes: 1,
  stallSeconds: 0.1,
  seconds: 1,
  reason,
});
