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
 * attempt that failed has looked by itself, so before the next one of the same parameters nobody asks again: that would
 * double what a failure costs in history.
 */
function servedOrMade<S>() {
  let missed: string | null = null;
  return async (
    parameters: string,
    lookUp: () => Promise<StageResult<S> | null>,
    make: () => Promise<StageResult<S>>,
  ): Promise<StageResult<S>> => {
    const hit = parameters === missed ? null : await lookUp();
    if (hit !== null) return hit;
    try {
      return await make();
    } catch (error) {
      if (failureOf(error).details.lookedUp === true) missed = parameters;
      throw error;
    }
  };
}

export function createStages(run: RunRecord, spec: SpecInForce, runner: StageRunner) {
  async function trainOnGpu(
    inputs: Pick<TrainRequest, 'spec' | 'filtered' | 'model'>,
  ): Promise<StageResult<TrainSummary>> {
    const { seenStep, leaveOutSteps, gpuSecondsBesideTraining } = run;
    run.attempts++;
    const call = gpu(inputs.spec, 'train', 'Fine-tune');
    // Temporal's own retries, after preemptions, are attempts too.
    const count = (attempt: unknown): void => {
      if (typeof attempt === 'number') run.attempts += attempt - 1;
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
      count(failureOf(error).details.attempt);
      throw error;
    }
  }

  return {
    async resolve(input: RunSpecInput): Promise<Sources> {
      const resolved = await runner.stage('resolve', () =>
        cpu('Check the run spec, pin revisions').resolve({ spec: input }),
      );
      run.stage('resolve').state = 'done';
      spec.adopt(resolved.spec);
      return resolved;
    },

    downloadDataset: ({ dataset }: Sources): Promise<StageResult<DownloadSummary>> =>
      runner.artifact(
        'download dataset',
        () => cpu(`Download ${dataset.source}`).downloadDataset({ spec: spec.current, dataset }),
        describeDownload,
      ),

    downloadModel: ({ model }: Sources): Promise<StageResult<DownloadSummary>> =>
      runner.artifact(
        'download model',
        () => cpu(`Download ${model.source}`).downloadModel({ model }),
        describeDownload,
      ),

    convert: ({ artifact }: StageResult<DownloadSummary>): Promise<StageResult<ConvertSummary>> =>
      runner.artifact(
        'convert',
        () => cpu('Map rows to prompt and response, split').convert({ spec: spec.current, dataset: artifact }),
        describeConvert,
      ),

    filter: (
      converted: StageResult<ConvertSummary>,
      model: StageResult<DownloadSummary>,
    ): Promise<StageResult<FilterSummary>> =>
      runner.artifact(
        'filter',
        () =>
          cpu(`Keep rows of up to ${spec.current.filter.maxTokens} tokens`).filter({
            spec: spec.current,
            converted: converted.artifact,
            model: model.artifact,
          }),
        describeFilter,
      ),

    async train({ filtered, model }: GpuInputs): Promise<StageResult<TrainSummary>> {
      const served = servedOrMade<TrainSummary>();
      const attempt = async (): Promise<StageResult<TrainSummary>> => {
        const now = spec.current;
        const parameters = canonicalJson(trainParameters(now));
        run.beginTraining(parameters);
        const inputs = { spec: now, filtered: filtered.artifact, model: model.artifact };
        const result = await served(
          parameters,
          () => cpu('Look for this training in the store').lookUpTrain(inputs),
          () => trainOnGpu(inputs),
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
      const served = servedOrMade<EvalSummary>();
      const attempt = async (): Promise<StageResult<EvalSummary>> => {
        const inputs = { spec: spec.current, filtered: filtered.artifact, model: model.artifact };
        const result = await served(
          canonicalJson(inputs.spec.eval),
          () => cpu(`Look for this evaluation of the ${which} model in the store`).lookUpEval(inputs),
          () =>
            gpu(inputs.spec, 'eval', `Evaluate the ${which} model`).evaluate({
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
      const call = cpu(`Compare with the champion ${spec.current.promote.name}`);
      const verdict = await runner.stage('promote', () => call.promote(input));
      Object.assign(status, { state: 'done', note: verdict.reason });
      return verdict;
    },

    async report(input: ReportInput): Promise<StageResult<ReportSummary>> {
      const result = await runner.artifact('report', () => cpu('Render the report').report(input), describeReport);
      run.report = result.summary.markdown;
      return result;
    },
  };
}
