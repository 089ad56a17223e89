/** The stages of a run, each as one call: its activity, the summary that the UI shows, and its line in the table. */

import { canonicalJson } from '../contracts/canonical-json.ts';
import type { PromoteInput, ReportInput } from '../contracts/report.ts';
import type { RunSpecInput } from '../contracts/run-spec.ts';
import { trainParameters } from '../contracts/stage-parameters.ts';
import type {
  ConvertSummary,
  DownloadSummary,
  EvalSummary,
  FilterSummary,
  PinnedSource,
  PromoteSummary,
  ReportSummary,
  StageResult,
  TrainSummary,
} from '../contracts/stages.ts';
import type { GpuActivities } from './activity-types.ts';
import { cpu, gpu } from './calls.ts';
import { failureOf } from './failure-of.ts';
import {
  describeConvert,
  describeDownload,
  describeEval,
  describeFilter,
  describeReport,
  describeTrain,
} from './notes.ts';
import type { RunRecord } from './run-record.ts';
import type { SpecInForce } from './spec-in-force.ts';
import type { StageRunner } from './stage-runner.ts';

export interface Sources {
  dataset: PinnedSource;
  model: PinnedSource;
}
type TrainRequest = Parameters<GpuActivities['train']>[0];
/** What training and evaluation start from. */
interface GpuInputs {
  filtered: StageResult<FilterSummary>;
  model: StageResult<unknown>;
}

/**
 * From the store or from a GPU worker. The look-up is on the CPU queue: a GPU task is scheduled only on a miss. An
 * attempt looks by itself, so before the next one of the same parameters nobody asks again: that would double what a
 * failure costs in history. Before `frugal`, only a failure could say that it had looked.
 */
function servedOrMade<S>(frugal: boolean) {
  let missed: string | null = null;
  return async (
    parameters: string,
    waitSeconds: number,
    lookUp: (waitSeconds: number) => Promise<StageResult<S> | null>,
    make: (waitSeconds: number) => Promise<StageResult<S>>,
  ): Promise<StageResult<S>> => {
    const looksUp = parameters !== missed;
    const hit = looksUp ? await lookUp(waitSeconds) : null;
    if (hit !== null) return hit;
    if (frugal) missed = parameters;
    try {
      return await make(looksUp ? 0 : waitSeconds);
    } catch (error) {
      if (failureOf(error).details.lookedUp === true) missed = parameters;
      throw error;
    }
  };
}

export function createStages(run: RunRecord, spec: SpecInForce, runner: StageRunner, frugal: boolean) {
  async function trainOnGpu(
    inputs: Pick<TrainRequest, 'spec' | 'filtered' | 'model'>,
    waitSeconds: number,
  ): Promise<StageResult<TrainSummary>> {
    const { seenStep, leaveOutSteps, gpuSecondsBesideTraining } = run;
    run.attempts++;
    const beginsMs = Date.now() + 1000 * waitSeconds;
    const call = gpu(inputs.spec, 'train', 'Fine-tune', waitSeconds);
    // Temporal's own retries, after preemptions, are attempts too; one that only held the next back is none.
    const count = (attempt: unknown): void => {
      if (typeof attempt === 'number') run.attempts += Math.max(0, attempt - (waitSeconds > 0 ? 2 : 1));
    };
    try {
      const result = await call.train({
        ...inputs,
        seenStep,
        leaveOutSteps: [...leaveOutSteps],
        gpuSecondsElsewhere: gpuSecondsBesideTraining,
      });
      count(result.attempt);
      return result;
    } catch (error) {
      // Cancelled while it waited, or just before, when it still ends as held back.
      if (Date.now() < beginsMs) run.attempts--;
      else count(failureOf(error).details.attempt);
      throw error;
    }
  }

  return {
    async resolve(input: RunSpecInput): Promise<Sources> {
      const resolved = await runner.stage('resolve', (waitSeconds) =>
        cpu('Check the run spec, pin revisions', waitSeconds).resolve({ spec: input }),
      );
      run.stage('resolve').state = 'done';
      spec.adopt(resolved.spec);
      return resolved;
    },

    downloadDataset: ({ dataset }: Sources): Promise<StageResult<DownloadSummary>> =>
      runner.artifact(
        'download dataset',
        (waitSeconds) =>
          cpu(`Download ${dataset.source}`, waitSeconds).downloadDataset({ spec: spec.current, dataset }),
        describeDownload,
      ),

    downloadModel: ({ model }: Sources): Promise<StageResult<DownloadSummary>> =>
      runner.artifact(
        'download model',
        (waitSeconds) => cpu(`Download ${model.source}`, waitSeconds).downloadModel({ model }),
        describeDownload,
      ),

    convert: ({ artifact }: StageResult<DownloadSummary>): Promise<StageResult<ConvertSummary>> =>
      runner.artifact(
        'convert',
        (waitSeconds) =>
          cpu('Map rows to prompt and response, split', waitSeconds).convert({ spec: spec.current, dataset: artifact }),
        describeConvert,
      ),

    filter: (
      converted: StageResult<ConvertSummary>,
      model: StageResult<DownloadSummary>,
    ): Promise<StageResult<FilterSummary>> =>
      runner.artifact(
        'filter',
        (waitSeconds) =>
          cpu(`Keep rows of up to ${spec.current.filter.maxTokens} tokens`, waitSeconds).filter({
            spec: spec.current,
            converted: converted.artifact,
            model: model.artifact,
          }),
        describeFilter,
      ),

    async train({ filtered, model }: GpuInputs): Promise<StageResult<TrainSummary>> {
      const served = servedOrMade<TrainSummary>(frugal);
      const attempt = async (waitSeconds: number): Promise<StageResult<TrainSummary>> => {
        const now = spec.current;
        const parameters = canonicalJson(trainParameters(now));
        run.beginTraining(parameters);
        const inputs = { spec: now, filtered: filtered.artifact, model: model.artifact };
        const result = await served(
          parameters,
          waitSeconds,
          (wait) => cpu('Look for this training in the store', wait).lookUpTrain(inputs),
          (wait) => trainOnGpu(inputs, wait),
        );
        // Changes that came too late were not followed; the queue is for evaluation too.
        spec.setTrain({ ...now.train, queue: spec.current.train.queue });
        run.takeStory(result);
        run.step = result.summary.steps;
        run.weightsSha256 = result.summary.weightsSha256;
        return result;
      };
      return runner.artifact('train', attempt, describeTrain);
    },

    async evaluate(which: 'base' | 'tuned', { filtered, model }: GpuInputs): Promise<StageResult<EvalSummary>> {
      const served = servedOrMade<EvalSummary>(frugal);
      const attempt = async (waitSeconds: number): Promise<StageResult<EvalSummary>> => {
        const inputs = { spec: spec.current, filtered: filtered.artifact, model: model.artifact };
        const result = await served(
          canonicalJson(inputs.spec.eval),
          waitSeconds,
          (wait) => cpu(`Look for this evaluation of the ${which} model in the store`, wait).lookUpEval(inputs),
          (wait) =>
            gpu(inputs.spec, 'eval', `Evaluate the ${which} model`, wait).evaluate({
              ...inputs,
              which,
              gpuSecondsElsewhere: run.gpuSeconds,
            }),
        );
        const { accuracy, samples } = result.summary;
        run.accuracy = { base: null, tuned: null, ...run.accuracy, [which]: accuracy, n: samples };
        run.spend(`eval ${which}`, result.gpuSeconds ?? 0);
        return result;
      };
      return runner.artifact(`eval ${which}`, attempt, describeEval);
    },

    async promote(input: PromoteInput): Promise<PromoteSummary | null> {
      const status = run.stage('promote');
      if (!spec.current.promote.enabled) {
        status.state = 'skipped';
        return null;
      }
      const summary = `Compare with the champion ${spec.current.promote.name}`;
      const verdict = await runner.stage('promote', (waitSeconds) => cpu(summary, waitSeconds).promote(input));
      Object.assign(status, { state: 'done', note: verdict.reason });
      return verdict;
    },

    async report(input: ReportInput): Promise<StageResult<ReportSummary>> {
      const render = (waitSeconds: number) => cpu('Render the report', waitSeconds).report(input);
      const result = await runner.artifact('report', render, describeReport);
      run.report = result.summary.markdown;
      return result;
    },
  };
}
