import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collectFacts } from '../../../../activities/report/facts.ts';
import { renderHtml } from '../../../../activities/report/html.ts';
import { renderMarkdown } from '../../../../activities/report/markdown.ts';
import { messagesIn } from '../../../../activities/report/messages/catalogue.ts';
import { familyOf, type Night, nightOf, readNights, sameAs, writeNight } from '../../../../activities/report/nights.ts';
import { drawPlots } from '../../../../activities/report/plots/plots.ts';
import { reportDocument } from '../../../../activities/report/report-document.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import type { ReportInput } from '../../../../contracts/report.ts';
import { type RunSpecInput, runSpecSchema } from '../../../../contracts/run-spec.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { reportInput } from './fixture.ts';

let root: string;
let store: FileStore;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'reverie-nights-'));
  store = new FileStore(root);
});
after(() => rm(root, { recursive: true }));

/** The run of a November's night; trained anew unless it was served. */
function night(day: number, { served = false, spec = {} }: { served?: boolean; spec?: RunSpecInput } = {}) {
  const { input, files } = reportInput('better', spec);
  const run = { ...input.run, runId: `run-${day}`, startedAt: `2026-11-${String(day).padStart(2, '0')}T02:00:00.000Z` };
  const own = ['resolve', 'promote', 'report'];
  const stages = input.stages.map((stage) =>
    served && !own.includes(stage.name) ? { ...stage, state: 'cached' as const, seconds: 0 } : stage,
  );
  return { input: { ...input, run, stages } satisfies ReportInput, files };
}

const record = (input: ReportInput): Night => nightOf(input, sha256(`report of ${input.run.runId}`));

test('keeps the last nights of a family in their order, and reads those before a run alone', async () => {
  const days = [11, 2, 7, 12, 3, 4, 5, 6, 8, 9, 10, 1, 20];
  for (const day of days) await writeNight(store, night(day).input, record(night(day).input));
  const read = await readNights(store, night(12).input);
  assert.deepEqual(
    read.map(({ runId }) => runId),
    [3, 4, 5, 6, 7, 8, 9, 10, 11].map((day) => `run-${day}`),
  );
});

test('is not stopped by a record that cannot be read', async () => {
  const spec = { train: { seed: 7 } };
  const { input } = night(2, { spec });
  const folder = `nights/${familyOf(input.spec)}`;
  await store.put(`${folder}/2026-11-01T02-00-00-000Z-a.json`, Buffer.from('{"version": 1'));
  await store.put(`${folder}/2026-11-01T02-00-00-000Z-b.json`, Buffer.from('{"version": 2}'));
  assert.deepEqual(await readNights(store, input), []);
});

test('makes one family of a source at all its revisions, and of nothing that learns or is asked otherwise', () => {
  const family = (spec: RunSpecInput): string => familyOf(runSpecSchema.parse(spec));
  const same: RunSpecInput[] = [
    { dataset: { revision: 'a-branch' }, model: { revision: 'v2' } },
    { train: { microBatchSize: 1, queue: 'big' } },
    { report: { language: 'zh' }, policy: { priority: 1 }, promote: { enabled: true } },
  ];
  for (const spec of same) assert.equal(family(spec), family({}), JSON.stringify(spec));
  const others: RunSpecInput[] = [
    { dataset: { source: 'hf://a/b' } },
    { train: { epochs: 4 } },
    { eval: { maxSamples: 3 } },
  ];
  assert.equal(new Set([{}, ...others].map(family)).size, 4);
});

test('names the run that did the work, and not one that was served itself', () => {
  const [worked, served] = [record(night(1).input), record(night(2, { served: true }).input)];
  assert.equal(served.state, 'unchanged');
  const { input } = night(3, { served: true });
  assert.equal(sameAs(input, [worked, served])?.runId, 'run-1');
  assert.equal(sameAs(night(3).input, [worked, served]), null, 'a run that worked');
  assert.equal(sameAs(input, [{ ...worked, evalTuned: sha256('another') }]), null, 'another evaluation');
});

test('shows the nights as a table, and links the report of the work in both renderings', async () => {
  for (const [language, heading, unchanged] of [
    ['en', 'The last nights', 'Nothing has changed since an earlier run'],
    ['zh', '最近几夜', '与先前的一次运行相比没有任何变化'],
  ] as const) {
    const spec = { report: { language } };
    const { input, files } = night(3, { served: true, spec });
    const facts = collectFacts(input, files, [record(night(1, { spec }).input)]);
    const document = reportDocument(facts, await drawPlots(facts, messagesIn(language).plots));
    const [html, markdown] = [renderHtml(document), renderMarkdown(document)];
    const href = `../${sha256('report of run-1')}/report.html`;
    assert.ok(html.includes(`<a href="${href}">${input.run.workflowId}</a>`));
    assert.ok(markdown.includes(`[${input.run.workflowId}](<${href}>)`));
    for (const words of [heading, unchanged]) assert.ok(html.includes(words) && markdown.includes(words), words);
    const table = markdown.split(`### ${heading}`)[1]?.split('\n## ')[0] ?? '';
    const rows = table.split('\n').filter((line) => line.startsWith('| 2026-11-'));
    assert.equal(rows.length, 2);
    assert.match(rows[0] ?? '', /\d+\.\d % – \d+\.\d %/);
  }
});

test('says nothing of nights where there was none', async () => {
  const { input, files } = night(1);
  const facts = collectFacts(input, files);
  const markdown = renderMarkdown(reportDocument(facts, await drawPlots(facts, messagesIn('en').plots)));
  assert.ok(!markdown.includes('The last nights'));
});
