/**
 * One run, from a run spec to a report:
 *
 *     resolve ─► download dataset ─► convert ─► filter ─┬─► train ─► eval tuned ─┐
 *            └─► download model ────────────────────────┴─► eval base ───────────┴─► (promote) ─► report
 */
import {
  CancellationScope,
  condition,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { ReportInput } from '../contracts/report.ts';
import type { RunSpec, RunSpecInput } from '../contracts/run-spec.ts';
import { applyChanges } from '../contracts/spec-problems.ts';
import type { EvalSummary, StageName, StageResult, TrainSummary } from '../contracts/stages.ts';
import type { ResumeRequest, RunResult } from '../contracts/workflow-api.ts';
import { cpu, gpu } from './calls.ts';
import { advise, decide, type StageFailure } from './decisions.ts';
import { details } from './details.ts';
import { failureOf, runFailure } from './failure-of.ts';
import { abortUpdate, attributes, progressSignal, resumeUpdate, statusQuery } from './messages.ts';
import { describeEval, describeFilter, describeTrain } from './notes.ts';
import { objectionTo } from './resume-request.ts';
import { RunRecord } from './run-record.ts';

export async function fineTune(input: RunSpecInput = {}): Promise<RunResult> {
  const run = new RunRecord();
  const scope = new CancellationScope();
  const changes: NonNullable<ResumeRequest['changes']>[] = [];
  let spec: RunSpec | null = null;
  let resumes = 0;
  let aborted: string | null = null;

  const show = (): void => setCurrentDetails(details(run.status()));
  setHandler(statusQuery, () => run.status());
  setHandler(progressSignal, (progress) => {
    run.take(progress);
    if (progress.stage === 'train') upsertSearchAttributes([{ key: attributes.step, value: progress.step }]);
    show();
  });
  setHandler(
    resumeUpdate,
    (request = {}) => {
      if (request.changes) changes.push(request.changes);
      if (spec !== null) spec = changed(spec, changes);
      const stage = run.parked?.stage ?? null;
      resumes++;
      const kept = request.changes ? 'The changes hold from the next attempt on. ' : '';
      return `${kept}${stage === null ? 'The run goes on.' : `The run goes on with ${stage}.`}`;
    },
    {
      validator: (request = {}) => {
        const objection = objectionTo(request, run, spec);
        if (objection !== null) throw runFailure('ResumeRefused', objection);
      },
    },
  );
  setHandler(abortUpdate, (request = {}) => {
    aborted = request?.reason ?? 'no reason given';
    scope.cancel();
    return 'The run is being aborted; its checkpoints and finished stages stay in the store.';
  });

  /** Runs one stage to its end, through verdicts and waits; throws only what ends the run. */
  async function stage<T>(name: StageName, attempt: () => Promise<T>): Promise<T> {
    const status = run.stage(name);
    for (;;) {
      status.state = 'running';
      upsertSearchAttributes([{ key: attributes.stage, value: run.current ?? name }]);
      show();
      try {
        return await attempt();
      } catch (error) {
        if (isCancellation(error)) throw error;
        status.state = 'failed';
        await judge(name, failureOf(error));
      }
    }
  }

  async function judge(name: StageName, failure: StageFailure): Promise<void> {
    if (spec === null) throw runFailure(failure.type ?? 'Failed', failure.message);
    const decision = decide(failure, run.counts(name), spec);
    run.count(name, failure);
    if (name === 'train') run.attempts++;
    const type = failure.type ?? 'Unknown';
    const { message } = failure;
    const at = new Date().toISOString();
    run.incidents.push({ stage: name, type, message, verdict: decision.verdict, action: decision.action, at });
    if (decision.kind === 'fail') throw runFailure(type, message);
    if (decision.train) spec = { ...spec, train: { ...spec.train, ...decision.train } };
    if (decision.leaveOutStep !== undefined) run.leaveOutSteps.push(decision.leaveOutStep);
    if (failure.type === 'ArtifactMissing' && decision.kind === 'again') throw new StartOver();
    if (decision.kind === 'park') await park(name, failure, spec);
    else if (decision.delaySeconds > 0) await sleep(decision.delaySeconds * 1000);
  }

  async function park(name: StageName, failure: StageFailure, { policy }: RunSpec): Promise<void> {
    const since = new Date();
    const until = new Date(since.getTime() + policy.parkDeadlineHours * 3600_000);
    const step = run.seenStep === null ? 'no checkpoint yet' : `the checkpoint of step ${run.seenStep}`;
    run.state = 'parked';
    run.parked = {
      stage: name,
      reason: failure.message,
      holds: `every finished stage, and ${step}`,
      advice: advise(failure, name),
      since: since.toISOString(),
      until: until.toISOString(),
    };
    upsertSearchAttributes([{ key: attributes.state, value: 'parked' }]);
    show();
    const before = resumes;
    const resumed = await condition(() => resumes > before, policy.parkDeadlineHours * 3600_000);
    if (!resumed) {
      run.state = 'expired';
      throw runFailure(
        'Expired',
        `Nobody resumed the run within ${policy.parkDeadlineHours} h. It was parked in ${name}: ${failure.message}`,
      );
    }
    run.state = 'running';
    run.parked = null;
    run.forgive(name);
    // Pressing resume after a loss accepts it: training goes on from what the store has.
    if (failure.type === 'CheckpointLost') run.seenStep = null;
    upsertSearchAttributes([{ key: attributes.state, value: 'running' }]);
  }

  function finish<S>(name: StageName, result: StageResult<S>, note: string): StageResult<S> {
    Object.assign(run.stage(name), { state: result.cached ? 'cached' : 'done', seconds: result.seconds, note });
    show();
    return result;
  }

  async function dag(): Promise<RunResult> {
    const resolved = await stage('resolve', () => cpu('Check the run spec, pin revisions').resolve({ spec: input }));
    run.stage('resolve').state = 'done';
    spec = changed(spec ?? resolved.spec, changes);
    const current = (): RunSpec => spec ?? resolved.spec;
    upsertSearchAttributes([
      { key: attributes.model, value: current().model.source },
      { key: attributes.dataset, value: current().dataset.source },
    ]);

    const [dataset, model] = await Promise.all([
      stage('download dataset', () =>
        cpu(`Download ${resolved.dataset.source}`).downloadDataset({ spec: current(), dataset: resolved.dataset }),
      ).then((result) =>
        finish(
          'download dataset',
          result,
          `${result.summary.files} files, revision ${result.summary.revision.slice(0, 12)}`,
        ),
      ),
      stage('download model', () =>
        cpu(`Download ${resolved.model.source}`).downloadModel({ model: resolved.model }),
      ).then((result) =>
        finish(
          'download model',
          result,
          `${result.summary.files} files, revision ${result.summary.revision.slice(0, 12)}`,
        ),
      ),
    ]);
    const converted = await stage('convert', () =>
      cpu('Map rows to prompt and response, split').convert({ spec: current(), dataset: dataset.artifact }),
    ).then((result) => finish('convert', result, `${result.summary.train} + ${result.summary.validation} rows`));
    const filtered = await stage('filter', () =>
      cpu(`Keep rows of up to ${current().filter.maxTokens} tokens`).filter({
        spec: current(),
        converted: converted.artifact,
        model: model.artifact,
      }),
    ).then((result) => finish('filter', result, describeFilter(result.summary)));

    const inputs = { filtered: filtered.artifact, model: model.artifact };
    const training = train(inputs);
    const [evalBase, { trained, evalTuned }] = await Promise.all([
      evaluate('eval base', inputs),
      training.then(async (trained) => ({
        trained,
        evalTuned: await evaluate('eval tuned', { filtered: inputs.filtered, model: trained.artifact }),
      })),
    ]);
    run.weightsSha256 = trained.summary.weightsSha256;

    const info = workflowInfo();
    const report: ReportInput = {
      spec: current(),
      run: { workflowId: info.workflowId, runId: info.runId, startedAt: info.runStartTime.toISOString(), uiUrl: null },
      sources: { dataset: resolved.dataset, model: resolved.model },
      artifacts: {
        dataset: dataset.artifact,
        model: model.artifact,
        converted: converted.artifact,
        filtered: filtered.artifact,
        train: trained.artifact,
        evalBase: evalBase.artifact,
        evalTuned: evalTuned.artifact,
      },
      summaries: {
        convert: converted.summary,
        filter: filtered.summary,
        train: trained.summary,
        evalBase: evalBase.summary,
        evalTuned: evalTuned.summary,
      },
      stages: run.stages,
      incidents: run.incidents,
      attempts: run.attempts,
      gpuHours: run.gpuSeconds / 3600,
      promote: null,
    };
    if (current().promote.enabled) {
      const { run: runInfo, sources, artifacts } = report;
      report.promote = await stage('promote', () =>
        cpu(`Compare with the champion ${current().promote.name}`).promote({
          spec: current(),
          run: runInfo,
          ...sources,
          train: artifacts.train,
          evalBase: artifacts.evalBase,
          evalTuned: artifacts.evalTuned,
          weightsSha256: trained.summary.weightsSha256,
        }),
      );
      Object.assign(run.stage('promote'), { state: 'done', note: report.promote.reason });
    } else run.stage('promote').state = 'skipped';
    const rendered = await stage('report', () => cpu('Render the report').report(report));
    finish('report', rendered, rendered.summary.headline);

    run.report = rendered.summary.markdown;
    const state = run.unchanged ? 'unchanged' : 'done';
    run.state = state;
    return {
      state,
      report: rendered.summary.markdown,
      headline: rendered.summary.headline,
      accuracy: run.accuracy ?? { base: null, tuned: null, n: 0 },
      stages: run.stages.map((each) => ({
        name: each.name,
        cached: each.state === 'cached',
        seconds: each.seconds ?? 0,
      })),
      attempts: run.attempts,
      weightsSha256: trained.summary.weightsSha256,
    };
  }

  type GpuInputs = Pick<Parameters<ReturnType<typeof gpu>['train']>[0], 'filtered' | 'model'>;

  /** The look-up is on the CPU queue: a GPU task is scheduled only on a miss. */
  async function train(inputs: GpuInputs): Promise<StageResult<TrainSummary>> {
    const result = await stage('train', async () => {
      const now = spec as RunSpec;
      const hit = await cpu('Look for this training in the store').lookUpTrain({ spec: now, ...inputs });
      if (hit) return hit;
      const { seenStep, leaveOutSteps } = run;
      return gpu(now, 'train', 'Fine-tune').train({
        spec: now,
        ...inputs,
        seenStep,
        leaveOutSteps: [...leaveOutSteps],
      });
    });
    run.gpuSeconds += result.seconds;
    run.attempts += result.attempt ?? 0;
    return finish('train', result, describeTrain(result.summary));
  }

  async function evaluate(name: 'eval base' | 'eval tuned', inputs: GpuInputs): Promise<StageResult<EvalSummary>> {
    const which = name === 'eval base' ? 'base' : 'tuned';
    const result = await stage(name, async () => {
      const now = spec as RunSpec;
      const hit = await cpu(`Look for this evaluation of the ${which} model in the store`).lookUpEval({
        spec: now,
        ...inputs,
      });
      if (hit) return hit;
      return gpu(now, 'eval', `Evaluate the ${which} model`).evaluate({ spec: now, ...inputs, which });
    });
    run.gpuSeconds += result.seconds;
    run.accuracy = {
      base: null,
      tuned: null,
      ...run.accuracy,
      [which]: result.summary.accuracy,
      n: result.summary.samples,
    };
    if (which === 'tuned' && result.summary.accuracy !== null) {
      upsertSearchAttributes([{ key: attributes.accuracy, value: result.summary.accuracy }]);
    }
    return finish(name, result, describeEval(result.summary));
  }

  upsertSearchAttributes([{ key: attributes.state, value: 'running' }]);
  try {
    return await scope.run(() => startingOver(dag));
  } catch (error) {
    if (aborted !== null) {
      run.state = 'aborted';
      throw runFailure('Aborted', `Aborted by a person: ${String(aborted)}`);
    }
    if (!isCancellation(error) && run.state !== 'expired') run.state = 'failed';
    throw error;
  } finally {
    if (run.state !== 'running')
      await CancellationScope.nonCancellable(async () =>
        upsertSearchAttributes([{ key: attributes.state, value: run.state }]),
      );
    show();
  }
}

function changed(spec: RunSpec, changes: readonly object[]): RunSpec {
  // Refused by the validator when they were made; after a reset to an earlier point they may fit no longer.
  return changes.reduce<RunSpec>((before, change) => {
    const applied = applyChanges(before, change);
    return applied.ok ? applied.spec : before;
  }, spec);
}

/** An artifact was found damaged after it had been served: from the top, all others are hits. */
class StartOver extends Error {}

async function startingOver<T>(dag: () => Promise<T>): Promise<T> {
  for (;;) {
    const attempt = new CancellationScope();
    try {
      return await attempt.run(dag);
    } catch (error) {
      attempt.cancel();
      if (!(error instanceof StartOver)) throw error;
    }
  }
}
