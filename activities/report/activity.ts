/** The activity `report`: tells what happened in one run. */
import type { ReportInput } from '../../contracts/report.ts';
import type { ReportSummary, StageResult } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { runStage } from '../stage.ts';
import { collectFacts } from './facts.ts';
import { nightOf, readNights, writeNight } from './nights.ts';
import { readReportFiles } from './read-files.ts';
import { reportKey, writeReport } from './write-report.ts';

export function createReportActivities(deps: ActivityDeps) {
  return asActivities({
    async report(input: ReportInput): Promise<StageResult<ReportSummary>> {
      const key = reportKey(input);
      const result = await runStage<ReportSummary>({
        deps,
        stage: 'report',
        key,
        async work(context) {
          const files = await readReportFiles(deps.artifacts, input.artifacts, context.transfer);
          const nights = await readNights(deps.store, input);
          context.progress();
          return writeReport(context.dir, key, collectFacts(input, files, nights));
        },
      });
      // After the report that it points to; a crash in between is made good by the retry.
      await writeNight(deps.store, input, nightOf(input, key));
      return result;
    },
  });
}
