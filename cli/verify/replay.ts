/** Steps of a training done once more by the real trainer, and what came of it beside what the run wrote down. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { trainerSpec } from '../../activities/train/trainer-spec.ts';
import { runTrainer } from '../../activities/trainer/run-trainer.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { TrainerEvent } from '../../contracts/trainer.ts';
import { listGpus } from '../../workers/gpus.ts';
import { type Check, fail, ok, warn } from '../doctor/check.ts';
import { trainerPath } from '../trainer-path.ts';
import type { SoundCheckpoint, StateHashes } from './checkpoints.ts';
import type { StepRun } from './choose-runs.ts';
import { compareSteps, type StepRecord } from './compare-steps.ts';
import type { Report } from './lineage.ts';
import type { Setting } from './setting.ts';

export interface ReplayRequest {
  report: Report;
  /** As the run wrote them down. */
  steps: readonly StepRecord[];
  checkpoints: readonly SoundCheckpoint[];
  run: StepRun;
  /** With which its steps were made. */
  setting: Setting;
  /** Holds `model/` and `filter/`. */
  dir: string;
  python: string;
  signal: AbortSignal;
}

export interface Replayed extends StepRun {
  /** Equal to the bit, and so is the state where the run kept one. */
  exact: boolean;
  /** Of loss and gradient norm, relative. */
  largestDifference: number;
  /** What the state at the end was compared with. */
  comparedWith: string | null;
  /** Device, PyTorch and ranks of the replay, in words. */
  hardware: string;
  check: Check;
}

/** Relative, of loss and gradient norm, where other hardware or software rounds in another way. */
const tolerances: Record<string, number> = { fp32: 1e-4 };
const BF16_TOLERANCE = 2e-2;
const GRACE_SECONDS = 5;

type EventOf<T extends TrainerEvent['type']> = Extract<TrainerEvent, { type: T }>;
type Plan = EventOf<'plan'>;

export async function replay(request: ReplayRequest): Promise<Replayed> {
  const { report, steps, checkpoints, run, setting, dir, python, signal } = request;
  const { spec, artifacts, summaries } = report;
  const start = checkpoints.find(({ step }) => step === run.from);
  const { microBatchSize } = setting;
  const sharding = setting.sharded ? 'on' : 'off';
  const { ranks, env } = await hardwareFor(summaries.train.device, setting.ranks);
  const { recipe, leftOutSteps } = summaries.train;
  const again: EventOf<'step'>[] = [];
  let plan: Plan | null = null;
  let state: StateHashes | null = null;
  const resumeFrom = (await start?.fetch(signal)) ?? null;
  const runDir = join(dir, `replay-${run.from}`);
  const done = await runTrainer({
    python,
    command: 'replay',
    args: ['--until', String(run.to)],
    env: { ...env, ...trainerPath() },
    spec: {
      ...trainerSpec({
        // As the training that is in the store was made, which this run may have found there.
        spec: {
          ...spec,
          train: {
            ...spec.train,
            microBatchSize,
            sharding,
            recipe: recipe as RunSpec['train']['recipe'],
            spikeFactor: null,
          },
        },
        trainKey: artifacts.train.key,
        modelDir: join(dir, 'model'),
        filteredDir: join(dir, 'filter'),
        resumeFrom,
        leaveOutSteps: leftOutSteps,
      }),
      validationData: null,
    },
    runDir,
    attempt: `verify-${randomUUID()}`,
    cacheDir: dir,
    ranks,
    signal,
    deadlines: spec.policy.phaseDeadlineSeconds,
    graceSeconds: () => GRACE_SECONDS,
    onAlive: () => {},
    onEvent: (event) => {
      if (event.type === 'plan') plan = event;
      if (event.type === 'step') again.push(event);
      if (event.type === 'state') state = { weights: event.weightsSha256, optimizer: event.optimizerSha256 };
    },
  });
  for (const folder of [runDir, resumeFrom ?? runDir]) await rm(folder, { recursive: true, force: true });
  if (plan === null || state === null) throw new Error('the trainer replayed without a plan or a state; expected both');
  const ended: Ended = { plan, again, state, weights: done.weightsSha256 };
  const trained = { ...summaries.train, ranks: setting.ranks };
  return judge({ run, ended, steps, trained, kept: checkpoints.find(({ step }) => step === run.to) });
}

interface Ended {
  plan: Plan;
  again: readonly StepRecord[] | readonly EventOf<'step'>[];
  state: StateHashes;
  /** Of the weights as they would be exported. */
  weights: string | null;
}

export interface Judged {
  run: StepRun;
  ended: Ended;
  steps: readonly StepRecord[];
  trained: Report['summaries']['train'];
  /** The checkpoint of the run's last step, where there is one. */
  kept?: Pick<SoundCheckpoint, 'stateSha256'> | undefined;
}

export function judge({ run, ended, steps, trained, kept }: Judged): Replayed {
  const { plan, again, state, weights } = ended;
  const { largestDifference, first } = compareSteps(again, steps);
  const atTheEnd = run.to === trained.steps;
  const comparedWith = atTheEnd ? 'the published weights' : kept ? `checkpoint ${run.to}` : null;
  const stateDiffers = atTheEnd
    ? weights !== trained.weightsSha256
    : kept !== undefined &&
      (state.weights !== kept.stateSha256.weights || state.optimizer !== kept.stateSha256.optimizer);
  const exact = first === null && !stateDiffers;
  const others = (['device', 'torch', 'ranks', 'recipe'] as const)
    .filter((name) => plan[name] !== trained[name])
    .map((name) => `${name} ${plan[name]}, then ${trained[name]}`);
  return {
    ...run,
    exact,
    largestDifference,
    comparedWith,
    hardware: hardwareOf(plan),
    check: check(),
  };

  function check(): Check {
    const name = run.to === run.from + 1 ? `step ${run.to}` : `steps ${run.from + 1}–${run.to}`;
    const replayed = `replayed from ${run.from === 0 ? 'the base' : `checkpoint ${run.from}`}`;
    const equal = `${replayed}: loss and gradient norm equal to the bit`;
    if (exact) return ok(name, `${equal}${comparedWith === null ? '' : `; state equal to ${comparedWith}`}`);
    const difference = `largest relative difference ${largestDifference.toExponential(1)}`;
    const tolerance = tolerances[trained.recipe] ?? BF16_TOLERANCE;
    if (others.length > 0 && largestDifference <= tolerance) {
      const found = `${replayed} on other hardware or software (${others.join('; ')}): ${difference}, within ${tolerance}`;
      return warn(name, found, 'to the bit, replay it where it was trained');
    }
    if (first === null) return fail(name, `${equal}, but the state is not that of ${comparedWith}`, DISTRUST);
    return fail(name, `${replayed}: ${first}; ${difference}`, others.length > 0 ? others.join('; ') : DISTRUST);
  }
}

const DISTRUST = 'distrust this training; only where its CPU was of another kind may last digits differ';

const hardwareOf = ({ device, torch, ranks, recipe }: Plan): string => {
  const name = device === 'cpu' ? `CPU (${cpus()[0]?.model.trim() || 'of an unknown kind'})` : device;
  return `${name}, PyTorch ${torch}, ${ranks} ${ranks === 1 ? 'rank' : 'ranks'}, ${recipe}`;
};

/** As many ranks as then, where the GPUs suffice; a training on a CPU is replayed on one, whatever else is here. */
async function hardwareFor(device: string, ranks: number) {
  if (device === 'cpu') return { ranks, env: { CUDA_VISIBLE_DEVICES: '' } };
  return { ranks: Math.max(1, Math.min(ranks, (await listGpus()).length)), env: {} };
}
