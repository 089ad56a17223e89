/**
 * One run, from a run spec to a report:
 *
 *     resolve ─► download dataset ─► convert ─► filter ─┬─► train ─► eval tuned ─┐
 *            └─► download model ────────────────────────┴─► eval base ───────────┴─► (promote) ─► report
 */
import {
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  patched,
  TemporalFailure,
  workflowInfo,
} from '@temporalio/workflow';
import type { RunInfo } from '../contracts/report.ts';
import type { RunSpecInput } from '../contracts/run-spec.ts';
import type { RunState } from '../contracts/search-attributes.ts';
import type { RunResult } from '../contracts/workflow-api.ts';
import { answerMessages } from './answers.ts';
import { failureOf, runFailure } from './failure-of.ts';
import { Notifier } from './notifier.ts';
import { promoteInput, type Results, reportInput, runResult } from './outcome.ts';
import { RunRecord } from './run-record.ts';
import { createShow } from './show.ts';
import { SpecInForce } from './spec-in-force.ts';
import { StageRunner } from './stage-runner.ts';
import { createStages, type Sources } from './stages.ts';

export async function fineTune(input: RunSpecInput = {}): Promise<RunResult> {
  const run = new RunRecord();
  const spec = new SpecInForce(input);
  const frugal = isFrugal();
  const show = createShow(run, () => spec.known, frugal);
  const notifier = new Notifier(run, () => spec.known, show);
  const runner = new StageRunner(run, spec, show, notifier, frugal);
  const stages = createStages(run, spec, runner, frugal);
  const scope = new CancellationScope();
  const told = answerMessages({ run, spec, runner, scope, show });

  async function dag(sources: Sources): Promise<RunResult> {
    const [{ dataset, converted }, model] = await Promise.all([
      stages.downloadDataset(sources).then(async (dataset) => ({ dataset, converted: await stages.convert(dataset) })),
      stages.downloadModel(sources),
    ]);
    const filtered = await stages.filter(converted, model);
    const [{ trained, evalTuned }, evalBase] = await Promise.all([
      stages.train({ filtered, model }).then(async (trained) => ({
        trained,
        evalTuned: await stages.evaluate('tuned', { filtered, model: trained }),
      })),
      stages.evaluate('base', { filtered, model }),
    ]);

    const results: Results = { dataset, model, converted, filtered, trained, evalBase, evalTuned };
    const story = { spec: spec.current, info: runInfo(), sources, results };
    const promoted = await stages.promote(promoteInput(story));
    if (promoted?.promoted) notifier.tell('promoted', promoted.reason);
    const report = await stages.report(reportInput(story, run, promoted));
    return runResult(run, trained.summary.weightsSha256, report.summary);
  }

  try {
    const result = await scope.run(async () => {
      // Once, so that a run that starts over keeps its pinned revisions.
      const sources = await stages.resolve(input);
      return runner.fromTheTop(() => dag(sources));
    });
    run.end(result.state);
    notifier.tell('finished', result.headline);
    return result;
  } catch (error) {
    run.end(told.aborted === null ? stateAfter(error) : 'aborted');
    const end = told.aborted === null ? error : abortedBy(told.aborted);
    // What is no failure of Temporal's is a fault of this code: the task fails, and the run goes on when it is mended.
    if (end instanceof TemporalFailure) notifier.tell('failed', failureOf(end).message);
    throw end;
  } finally {
    show();
    await notifier.settled();
  }
}

/** Whether a judged failure costs six events and no more: not in runs that an earlier version began. */
const isFrugal = (): boolean => patched('six-events-a-failure');

const abortedBy = (reason: string): Error =>
  runFailure(
    'Aborted',
    `Aborted by a person: ${reason}. Start Workflow Like This One goes on from what the store holds; a Reset would take the abort over.`,
  );

/** A run that was cancelled from outside was given up by a person too. */
function stateAfter(error: unknown): RunState {
  if (isCancellation(error)) return 'aborted';
  return error instanceof ApplicationFailure && error.type === 'Expired' ? 'expired' : 'failed';
}

function runInfo(): RunInfo {
  const { workflowId, runId, runStartTime } = workflowInfo();
  return { workflowId, runId, startedAt: runStartTime.toISOString(), uiUrl: null };
}
