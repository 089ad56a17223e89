/** One fault and what came of it: the record, and how it is judged. */
import { setTimeout as sleep } from 'node:timers/promises';
import { samplesAmiss } from './ledger.ts';
import { type Blow, type Scenario, TooLate } from './scenario.ts';
import { type Outcome, STEPS, type Training } from './training.ts';
import type { StepEvent } from './watch.ts';
import { largestDifference } from './weights.ts';

export interface Injection {
  fault: string;
  run: string;
  detail: string;
  fired: boolean;
  recovered: boolean;
  /** Or equal within the setting's tolerance. */
  identical: boolean;
  step: number | null;
  resumedFrom: number | null;
  stepsLost: number | null;
  /** Or to the end of the outage's effects, where the trainer does not stop for it. */
  secondsToNewStep: number | null;
  /** The largest difference of a weight, where one is allowed. */
  difference: number | null;
  /** Of the whole run, in the end. */
  samplesAmiss: number | null;
  /** What was expected and did not come: a fault without any has passed. */
  misses: string[];
}

const RECOVERY_MS = 120_000;
const LOOK_MS = 50;

export const begun = (fault: Scenario, run: string): Injection => ({
  fault: fault.name,
  run,
  detail: '',
  fired: false,
  recovered: false,
  identical: false,
  step: null,
  resumedFrom: null,
  stepsLost: null,
  secondsToNewStep: null,
  difference: null,
  samplesAmiss: null,
  misses: [],
});

/** Waits until the run is beyond the fault, and judges the way there. Throws where it does not come so far. */
export async function recover(training: Training, blow: Blow, injection: Injection): Promise<void> {
  if ('recovered' in blow) {
    // A training that ends meanwhile needs nothing more of what was away.
    await blow.recovered().catch((error) => {
      if (!(error instanceof TooLate)) throw error;
    });
    injection.recovered = true;
    injection.secondsToNewStep = (Date.now() - blow.atMs) / 1000;
    return;
  }
  const giveUpMs = Date.now() + RECOVERY_MS;
  for (;;) {
    // Between the blow and its death, the struck attempt may have ended a step.
    const done = Math.max(blow.step, blow.struck.step);
    const isNew = ({ at, step }: StepEvent): boolean => at * 1000 > blow.atMs && step > done;
    const others = training.watch.attempts.filter((attempt) => attempt !== blow.struck);
    const after = others.find((attempt) => attempt.steps.some(isNew));
    const newStep = after?.steps.find(isNew);
    if (after && newStep) {
      injection.recovered = true;
      injection.secondsToNewStep = newStep.at - blow.atMs / 1000;
      injection.resumedFrom = after.fromStep ?? 0;
      if (done > blow.step) injection.detail += `, ${done - blow.step} more done in dying`;
      injection.stepsLost = done - injection.resumedFrom;
      break;
    }
    if (Date.now() > giveUpMs) throw new Error(`no step beyond ${done} within ${RECOVERY_MS / 1000} s`);
    await sleep(LOOK_MS);
  }
  const [low, high] = blow.resumesFrom;
  const { resumedFrom, stepsLost, misses } = injection;
  if (resumedFrom < low || resumedFrom > high)
    misses.push(`resumed from step ${resumedFrom}; expected ${low === high ? low : `${low} to ${high}`}`);
  if (stepsLost > blow.maxStepsLost) misses.push(`${stepsLost} steps lost; expected ${blow.maxStepsLost} at most`);
}

/** What all faults of a run have in common: how it ended. */
export function compare(outcome: Outcome, undisturbed: Outcome, tolerance: number | null, injection: Injection): void {
  const { misses } = injection;
  injection.samplesAmiss = samplesAmiss(outcome.attempts, STEPS);
  if (injection.samplesAmiss !== 0) misses.push(`${injection.samplesAmiss} samples amiss; expected 0`);
  const sameHash = outcome.result.weightsSha256 === undisturbed.result.weightsSha256;
  if (tolerance === null) {
    injection.identical = sameHash;
  } else {
    injection.difference = largestDifference(outcome.model, undisturbed.model);
    injection.identical = injection.difference <= tolerance;
  }
  if (!injection.identical)
    misses.push(
      `weights ${outcome.result.weightsSha256.slice(0, 16)}, ${injection.difference ?? 'other bits'}; expected ${undisturbed.result.weightsSha256.slice(0, 16)}`,
    );
}
