/** Writes the three renderings of a report, and its figures, into a folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { canonicalJson, type JsonValue } from '../../contracts/canonical-json.ts';
import type { ReportInput } from '../../contracts/report.ts';
import { sha256, stageVersions } from '../../contracts/stage-keys.ts';
import type { ReportSummary } from '../../contracts/stages.ts';
import type { ReportDocument } from './document.ts';
import type { ReportFacts } from './facts.ts';
import { renderHtml } from './html.ts';
import { figurePath, renderMarkdown } from './markdown.ts';
import { messagesIn } from './messages/catalogue.ts';
import { drawPlots } from './plots/plots.ts';
import { reportDocument } from './report-document.ts';
import { headline } from './sections/summary.ts';

/** Of a run, not of content: a report tells what happened in one run, so no two runs share one. */
export const reportKey = (input: ReportInput): string =>
  sha256(canonicalJson({ stage: 'report', version: stageVersions.report, input: input as unknown as JsonValue }));

/** report.md, report.html, report.json and figures/*.svg: the same bytes for the same facts. */
export async function writeReport(dir: string, key: string, facts: ReportFacts): Promise<ReportSummary> {
  const messages = messagesIn(facts.spec.report.language);
  const document = reportDocument(facts, await drawPlots(facts, messages.plots));
  const told = headline(facts, messages);
  const files = {
    'report.md': renderMarkdown(document),
    'report.html': renderHtml(document),
    'report.json': `${JSON.stringify({ headline: told, ...facts }, null, 2)}\n`,
    ...figures(document),
  };
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  const prefix = `artifacts/report/${key}`;
  return {
    markdown: `${prefix}/report.md`,
    html: `${prefix}/report.html`,
    json: `${prefix}/report.json`,
    headline: told,
    ...(facts.earlier && { earlier: `artifacts/report/${facts.earlier.report}/report.md` }),
  };
}

/** report.md cannot hold a drawing, so that it names these files. */
const figures = ({ blocks }: ReportDocument): Record<string, string> =>
  Object.fromEntries(
    blocks.flatMap((block) => (block.kind === 'figure' ? [[figurePath(block.name), `${block.svg.wide}\n`]] : [])),
  );
