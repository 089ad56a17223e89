/** The activity `report`: tells what happened in one run. */
import type { ReportInput } from '../../contracts/report.ts';
import type { ReportSummary, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { runStage } from '../stage.ts';
import { collectFacts } from './facts.ts';
import { readReportFiles } from './read-files.ts';
import { reportKey, writeReport } from './write-report.ts';

export function createReportActivities(deps: ActivityDeps) {
  return asActivities({
    async report(input: ReportInput): Promise<StageResult<ReportSummary>> {
      const key = reportKey(input);
      return runStage({
        deps,
        stage: 'report',
        key,
        async work(context) {
          const files = await readReportFiles(deps.artifacts, input.artifacts, context.transfer);
          context.progress();
          return writeReport(context.dir, key, collectFacts(input, files));
        },
      });
    },
  });
}
