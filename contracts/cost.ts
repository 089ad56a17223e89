/** What a run has cost so far: the one place that computes it, for `status`, the details pane and the report. */
import type { RunSpec } from './run-spec.ts';

export interface Cost {
  /** Of this run's training and evaluation, as far as it has heard; a host without a GPU costs none. */
  gpuHours: number;
  /** Past it the run parks at a checkpoint; null is no cap. */
  maxGpuHours: number | null;
  /** In `currency`; null without a price. */
  amount: number | null;
  currency: string;
}

type CostPolicy = Pick<RunSpec['policy'], 'maxGpuHours' | 'gpuHourPrice' | 'currency'>;

/** A run that was begun by an earlier version knows neither cap nor price. */
export function costOf(gpuSeconds: number, policy: Partial<CostPolicy> | null | undefined): Cost {
  const { maxGpuHours = null, gpuHourPrice = null, currency = 'USD' } = policy ?? {};
  const gpuHours = gpuSeconds / 3600;
  return { gpuHours, maxGpuHours, amount: gpuHourPrice === null ? null : gpuHours * gpuHourPrice, currency };
}

/** As in "1.25 of at most 10 GPU-hours, 3.13 USD". */
export function describeCost({ gpuHours, maxGpuHours, amount, currency }: Cost): string {
  const most = maxGpuHours === null ? '' : ` of at most ${maxGpuHours}`;
  const price = amount === null ? '' : `, ${amount.toFixed(2)} ${currency}`;
  return `${Number(gpuHours.toFixed(2))}${most} GPU-hours${price}`;
}

/** Null without a cap; never below 0. */
export function gpuSecondsLeft(gpuSeconds: number, policy: Partial<CostPolicy>): number | null {
  const { maxGpuHours = null } = policy;
  return maxGpuHours === null ? null : Math.max(0, maxGpuHours * 3600 - gpuSeconds);
}
