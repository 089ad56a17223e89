/** What a run does when it is asked or told something: the handlers of its query, updates and signal. */
import { type CancellationScope, setHandler } from '@temporalio/workflow';
import { stageNames } from '../contracts/stages.ts';
import { type Notice, noticeTypes, type Progress } from '../contracts/workflow-api.ts';
import { runFailure } from './failure-of.ts';
import { abortUpdate, progressSignal, resumeUpdate, statusQuery } from './messages.ts';
import { hasChanges, objectionTo } from './resume-request.ts';
import type { RunRecord } from './run-record.ts';
import type { SpecInForce } from './spec-in-force.ts';
import type { StageRunner } from './stage-runner.ts';

export interface Told {
  /** Why a person has given the run up; null while nobody has. */
  aborted: string | null;
}

interface Listener {
  run: RunRecord;
  spec: SpecInForce;
  runner: StageRunner;
  /** Everything that an abort ends. */
  scope: CancellationScope;
  show: () => void;
}

export function answerMessages({ run, spec, runner, scope, show }: Listener): Told {
  const told: Told = { aborted: null };

  setHandler(statusQuery, () => run.status(spec.known?.policy), {
    description: 'The whole state of the run, as JSON.',
  });

  setHandler(
    progressSignal,
    (progress) => {
      if (!isProgress(progress)) return;
      const { notices, ...figures } = progress;
      run.take(figures);
      for (const notice of noticesIn(notices)) run.notice(progress.stage, notice);
      show();
    },
    { description: 'From the GPU workers; not for people.' },
  );

  setHandler(
    resumeUpdate,
    ({ changes } = {}) => {
      const taken = hasChanges(changes);
      if (taken) {
        spec.change(changes);
        runner.takeChanges();
      }
      const parked = run.parked?.stage;
      runner.resume();
      const said = taken ? ['The changes hold from the next attempt on.'] : [];
      return [...said, parked === undefined ? 'The run goes on.' : `The run goes on with ${parked}.`].join(' ');
    },
    {
      validator: (request = {}) => {
        const objection = objectionTo(request, run, spec.known);
        if (objection !== null) throw runFailure('ResumeRefused', objection);
      },
      description: 'A parked run goes on. Data: {} or {"changes": {"train": {"microBatchSize": 1}}}',
    },
  );

  setHandler(
    abortUpdate,
    (request) => {
      const reason: unknown = request?.reason;
      told.aborted = typeof reason === 'string' && reason.trim() !== '' ? reason : 'no reason given';
      scope.cancel();
      return 'The run is being aborted; its checkpoints and finished stages stay in the store.';
    },
    { description: 'Gives the run up; what is finished or saved stays. Data: {"reason": "…"}' },
  );

  return told;
}

/** Anybody can send a signal, and one that a handler throws on would stop the run. */
function isProgress(value: Progress | null | undefined): value is Progress {
  if (typeof value !== 'object' || value === null || !stageNames.includes(value.stage)) return false;
  const {
    loss,
    tokensPerSecond,
    etaSeconds,
    checkpointStep,
    samplesDone,
    samples,
    goodput = null,
    gpuSeconds = null,
  } = value;
  return (
    [value.step, value.steps, value.attempt, checkpointStep ?? 0].every(Number.isInteger) &&
    [loss, tokensPerSecond, etaSeconds, samplesDone, samples, goodput, gpuSeconds].every(
      (it) => it === null || typeof it === 'number',
    ) &&
    [value.phase, value.at, value.checkpointAt ?? ''].every((it) => typeof it === 'string')
  );
}

/** What is no notice is left out: the figures beside it may still be good. */
function noticesIn(values: unknown): Notice[] {
  if (!Array.isArray(values)) return [];
  return values.filter(
    (value: Partial<Notice> | null): value is Notice =>
      typeof value?.message === 'string' && typeof value.at === 'string' && noticeTypes.some((it) => it === value.type),
  );
}
