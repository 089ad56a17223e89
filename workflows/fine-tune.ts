/**
 * One run, from a run spec to a report:
 *
 *     resolve ─► download dataset ─► convert ─► filter ─┬─► train ─► eval tuned ─┐
 *            └─► download model ────────────────────────┴─► eval base ───────────┴─► (promote) ─► report
 */
import { ApplicationFailure, CancellationScope, isCancellation, workflowInfo } from '@temporalio/workflow';
import type { RunInfo } from '../contracts/report.ts';
import type { RunSpecInput } from '../contracts/run-spec.ts';
import type { RunState } from '../contracts/search-attributes.ts';
import type { RunResult } from '../contracts/workflow-api.ts';
import { answerMessages } from './answers.ts';
import { runFailure } from './failure-of.ts';
import { promoteInput, type Results, reportInput, runResult } from './outcome.ts';
import { RunRecord } from './run-record.ts';
import { createShow } from './show.ts';
import { SpecInForce } from './spec-in-force.ts';
import { StageRunner } from './stage-runner.ts';
import { createStages, type Sources } from './stages.ts';

export async function fineTune(input: RunSpecInput = {}): Promise<RunResult> {
  const run = new RunRecord();
  const spec = new SpecInForce(input);
  const show = createShow(run, () => spec.known);
  const runner = new StageRunner(run, spec, show);
  const stages = createStages(run, spec, runner);
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
    return result;
  } catch (error) {
    run.end(stateAfter(error));
    if (told.aborted === null) throw error;
    run.end('aborted');
    throw runFailure(
      'Aborted',
      `Aborted by a person: ${told.aborted}. Start Workflow Like This One goes on from what the store holds; a Reset would take the abort over.`,
    );
  } finally {
    show();
  }
}

/** A run that was cancelled from outside was given up by a person too. */
function stateAfter(error: unknown): RunState {
  if (isCancellation(error)) return 'aborted';
  return error instanceof ApplicationFailure && error.type === 'Expired' ? 'expired' : 'failed';
}

function runInfo(): RunInfo {
  const { workflowId, runId, runStartTime } = workflowInfo();
  return { workflowId, runId, startedAt: runStartTime.toISOString(), uiUrl: null };
}
