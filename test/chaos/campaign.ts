/** Injects faults into run after run, several into each, one when the last was recovered from. */
import type { House } from './house.ts';
import { begun, compare, type Injection, recover } from './injection.ts';
import type { Random } from './random.ts';
import { type Scenario, TooLate } from './scenario.ts';
import { line } from './table.ts';
import { type Outcome, Training } from './training.ts';

export interface CampaignOptions {
  house: House;
  random: Random;
  /** Each as often as it is to be injected. */
  faults: readonly Scenario[];
  perRun: number;
  /** Multiplies limits of time, for machines that have other work. */
  patience: number;
  say: (line: string) => void;
}

export interface Campaign {
  injections: Injection[];
  /** For every checkpoint of every attempt: how long training stood still. */
  stallSeconds: number[];
  runs: number;
  trainer: { device: string; torch: string } | null;
}

/** Trainings in a row without a moment for any of the faults that wait. */
const TRIES = 4;

export async function runCampaign(options: CampaignOptions): Promise<Campaign> {
  const campaign: Campaign = { injections: [], stallSeconds: [], runs: 0, trainer: null };
  const groups = new Map<string, Scenario[]>();
  for (const fault of options.faults) {
    const key = JSON.stringify(fault.setting);
    groups.set(key, [...(groups.get(key) ?? []), fault]);
  }
  // The weights depend on the ranks alone: neither stores nor hosts may change them.
  const undisturbed = new Map<number, Outcome>();
  for (const faults of groups.values()) {
    await underOneSetting(options, options.random.shuffled(faults), undisturbed, campaign);
  }
  return campaign;
}

async function underOneSetting(
  options: CampaignOptions,
  waiting: Scenario[],
  references: Map<number, Outcome>,
  campaign: Campaign,
): Promise<void> {
  const { house, random, perRun, say } = options;
  const [first] = waiting;
  if (first === undefined) return;
  const { ranks, tolerance } = first.setting;
  const begin = async (): Promise<Training> => {
    await house.arrange(first.setting);
    await house.forgetTraining();
    return Training.start(house, random, `chaos-${++campaign.runs}`);
  };
  let undisturbed = references.get(ranks);
  if (undisturbed === undefined) {
    undisturbed = await (await begin()).finish();
    references.set(ranks, undisturbed);
    note(undisturbed, campaign);
    say(`undisturbed, ranks: ${ranks}: weights ${undisturbed.result.weightsSha256.slice(0, 16)}`);
  }
  for (let idle = 0; waiting.length > 0; ) {
    const training = await begin();
    const { injections, left } = await disturb(training, waiting.splice(0, perRun), options.patience);
    waiting.push(...left);
    try {
      const outcome = await training.finish();
      note(outcome, campaign);
      for (const injection of injections) compare(outcome, undisturbed, tolerance, injection);
    } catch (error) {
      for (const { misses } of injections) misses.push(`the run did not end: ${String(error)}`);
      await training.abandon();
    }
    campaign.injections.push(...injections);
    for (const injection of injections) say(line(injection));
    idle = injections.length === 0 ? idle + 1 : 0;
    if (idle === TRIES) throw new Error(`no moment for ${left[0]?.name} in ${TRIES} trainings; expected one in each`);
  }
}

/** The faults that found no moment, since the training ended before, come back as `left`. */
async function disturb(
  training: Training,
  faults: readonly Scenario[],
  patience: number,
): Promise<{ injections: Injection[]; left: readonly Scenario[] }> {
  const injections: Injection[] = [];
  for (const [index, fault] of faults.entries()) {
    const injection = begun(fault, training.handle.workflowId);
    try {
      const blow = await fault.inject(training);
      injections.push(injection);
      Object.assign(injection, { fired: true, detail: blow.detail, step: blow.step });
      await recover(training, blow, injection);
      const [seconds, limit] = [injection.secondsToNewStep ?? 0, fault.limitSeconds * patience];
      if (seconds > limit) injection.misses.push(`took ${seconds.toFixed(1)} s; expected ${limit} s at most`);
    } catch (error) {
      if (error instanceof TooLate && !injection.fired) return { injections, left: faults.slice(index) };
      if (!injection.fired) injections.push(injection);
      injection.misses.push(error instanceof Error ? error.message : String(error));
      return { injections, left: faults.slice(index + 1) };
    }
  }
  return { injections, left: [] };
}

function note({ attempts }: Outcome, campaign: Campaign): void {
  const events = attempts.flatMap((attempt) => attempt.events);
  const plan = events.find(({ type }) => type === 'plan');
  if (plan?.type === 'plan') campaign.trainer ??= { device: plan.device, torch: plan.torch };
  campaign.stallSeconds.push(...events.flatMap((event) => (event.type === 'checkpoint' ? [event.stallSeconds] : [])));
}
