/** One line about a stage's result, for the UI's table and for `watch`. */
import type {
  ConvertSummary,
  DownloadSummary,
  EvalSummary,
  FilterSummary,
  ReportSummary,
  TrainSummary,
} from '../contracts/stages.ts';

export const describeDownload = ({ files, revision }: DownloadSummary): string =>
  `${files} ${files === 1 ? 'file' : 'files'}, revision ${revision.slice(0, 12)}`;

export const describeConvert = ({ train, validation }: ConvertSummary): string => `${train} + ${validation} rows`;

export function describeFilter({ train, validation }: FilterSummary): string {
  const rejected = [train, validation].flatMap((split) => Object.values(split.rejected)).reduce((sum, n) => sum + n, 0);
  return `${train.kept} + ${validation.kept} rows kept, ${rejected} rejected`;
}

export function describeTrain({ steps, finalLoss, validationLoss }: TrainSummary): string {
  const validation = validationLoss === null ? '' : `, validation loss ${validationLoss.toFixed(4)}`;
  return `${steps} steps, loss ${finalLoss.toFixed(4)}${validation}`;
}

export function describeEval({ accuracy, correct, incorrect, ungradable }: EvalSummary): string {
  const said =
    accuracy === null ? 'nothing gradable' : `${(100 * accuracy).toFixed(1)} % (${correct} of ${correct + incorrect})`;
  return ungradable > 0 ? `${said}, ${ungradable} ungradable` : said;
}

export const describeReport = ({ headline, earlier }: ReportSummary): string =>
  earlier === undefined ? headline : `${headline} Nothing has changed since ${earlier}`;
