import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ReportFacts } from '../../../../activities/report/facts.ts';
import { reportKey, writeReport } from '../../../../activities/report/write-report.ts';
import { reportFacts, reportInput } from './fixture.ts';

let root: string;
let folders = 0;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'reverie-report-'));
});
after(() => rm(root, { recursive: true }));

async function render(facts: ReportFacts): Promise<Record<string, string>> {
  const dir = join(root, String(folders++));
  await writeReport(dir, 'k', facts);
  const paths = (await readdir(dir, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  return Object.fromEntries(
    await Promise.all(
      paths.map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [path.slice(dir.length + 1), await readFile(path, 'utf8')];
      }),
    ),
  );
}

/** With one answer of the tuned model replaced, in the case that is shown first. */
function withAnswer(text: string): ReportFacts {
  const facts = reportFacts();
  const [first, ...rest] = facts.cases;
  assert.ok(first);
  return { ...facts, cases: [{ ...first, tuned: { ...first.tuned, text } }, ...rest] };
}

test('writes the same bytes for the same facts', async () => {
  assert.deepEqual(await render(reportFacts()), await render(reportFacts()));
});

test('names each figure of report.md as a file beside it', async () => {
  const files = await render(reportFacts());
  const named = [...(files['report.md'] ?? '').matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map((match) => match[1] ?? '');
  assert.equal(named.length, 6);
  for (const path of named) assert.match(files[path] ?? '', /^<svg /, path);
});

test('has the six sections of the walkthrough, its checklist and the departures, in both languages', async () => {
  const english = (await render(reportFacts()))['report.md'] ?? '';
  assert.deepEqual(
    [...english.matchAll(/^## (.+)$/gm)].map((match) => match[1]),
    [
      '1 · Overview',
      '2 · Training',
      '3 · Results',
      '4 · Challenges and how they were solved',
      '5 · Architecture',
      '6 · What next',
      'Checklist of the walkthrough',
      "Where this run departs from the walkthrough's letter",
      'Provenance',
    ],
  );
  const chinese = (await render(reportFacts('better', { report: { language: 'zh' } })))['report.html'] ?? '';
  assert.match(chinese, /<html lang="zh-CN">/);
  for (const heading of [
    '1 · 概述',
    '2 · 训练',
    '3 · 结果',
    '4 · 遇到的问题与解决办法',
    '5 · 架构',
    '6 · 后续工作',
    '教程检查清单',
  ]) {
    assert.ok(chinese.includes(`>${heading}</h2>`), heading);
  }
});

test('says which sampler answered, and how far the cached one agrees with the exact one', async () => {
  const exact = (await render(reportFacts()))['report.md'] ?? '';
  assert.match(exact, /temperature 0\.2, exact/);
  assert.doesNotMatch(exact, /cached sampler/);
  const facts = reportFacts('better', { eval: { sampler: { mode: 'cached' } } });
  const agreement = { samples: 8, sameText: 3, sameVerdict: 7, correct: { cached: 4, exact: 5 } };
  const cached = { ...facts, accuracy: { ...facts.accuracy, tuned: { ...facts.accuracy.tuned, agreement } } };
  const report = (await render(cached))['report.md'] ?? '';
  assert.match(report, /temperature 0\.2, cached/);
  assert.match(
    report,
    /first 8 questions as well: 7 with the same verdict, 3 with the same text; correct 4 by the cached and 5 by the exact one/,
  );
});

for (const [outcome, sentence] of [
  ['better', 'The tuned model is better than base'],
  ['same', 'There is no clear difference'],
  ['worse', 'The tuned model is worse than base'],
] as const) {
  test(`says in words when the tuned model is ${outcome}`, async () => {
    const files = await render(reportFacts(outcome));
    assert.ok(files['report.md']?.includes(sentence));
    assert.ok(files['report.html']?.includes(sentence));
  });
}

test('says so when nothing could be graded', async () => {
  const { input, files } = reportInput();
  const { collectFacts } = await import('../../../../activities/report/facts.ts');
  const none = {
    samples: 60,
    correct: 0,
    incorrect: 0,
    ungradable: 60,
    accuracy: null,
    newTokens: 1,
    generationSeconds: 1,
  };
  const ungradable = (model: typeof files.base) => ({
    ...model,
    predictions: model.predictions.map((row) => ({ ...row, grade: { ...row.grade, verdict: 'ungradable' as const } })),
  });
  const rendered = await render(
    collectFacts(
      { ...input, summaries: { ...input.summaries, evalBase: none, evalTuned: none } },
      { ...files, base: ungradable(files.base), tuned: ungradable(files.tuned) },
    ),
  );
  assert.ok(rendered['report.md']?.includes('No question could be graded for both models'));
  assert.doesNotMatch(rendered['report.md'] ?? '', /NaN|undefined|null points/);
});

test('loads nothing and runs nothing, whatever a model wrote', async () => {
  const html =
    (await render(withAnswer('</pre><script>alert(1)</script><img src=x onerror="alert(2)">')))['report.html'] ?? '';
  assert.ok(html.includes('&lt;script&gt;alert(1)&lt;/script&gt;'));
  assert.doesNotMatch(html, /<script|<img|<link|<iframe/i);
  assert.doesNotMatch(
    html.replaceAll(/xmlns(:xlink)?="[^"]+"/g, ''),
    /(src|href|xlink:href)="(?!#|http:\/\/127\.0\.0\.1:8233)/,
  );
  assert.match(html, /default-src 'none'/);
});

test('keeps a fence closed that a model tries to end', async () => {
  const markdown = (await render(withAnswer('````\n# not a heading\n`````')))['report.md'] ?? '';
  assert.match(markdown, /^``````text\n````\n# not a heading\n`````\n``````$/m);
});

test('escapes what would be mark-up in Markdown text', async () => {
  const facts = reportFacts('better', { report: { title: '<b>*a*</b> `b` $c$ [d](e)\n# f' } });
  const markdown = (await render(facts))['report.md'] ?? '';
  assert.equal(markdown.split('\n')[0], '# &lt;b>\\*a\\*&lt;/b> \\`b\\` \\$c\\$ \\[d\\](e) \\# f');
});

test('shows control characters as pictures and cuts what is too long', async () => {
  const html = (await render(withAnswer(`\u0000\u001b[31m${'好'.repeat(4000)}`)))['report.html'] ?? '';
  assert.ok(html.includes('␀␛[31m好'));
  assert.ok(html.includes('… 1006 more characters in predictions.jsonl'));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  assert.doesNotMatch(html, /[\u0000-\u0008\u000b-\u001f]/);
});

test('gives the ids of two drawings on one page no chance to collide', async () => {
  const html = (await render(reportFacts()))['report.html'] ?? '';
  const ids = [...html.matchAll(/\bid="([^"]+)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length);
});

test('draws in colours that follow the scheme of the page', async () => {
  const files = await render(reportFacts());
  assert.match(files['report.html'] ?? '', /stroke="var\(--tuned\)"/);
  assert.match(files['figures/training-curve.svg'] ?? '', /stroke="#3454d1"/);
});

test('belongs to one run', () => {
  const { input } = reportInput();
  assert.equal(reportKey(input), reportKey(structuredClone(input)));
  assert.notEqual(reportKey(input), reportKey({ ...input, run: { ...input.run, runId: 'another' } }));
});

test('gives the facts as JSON, headline first', async () => {
  const facts = JSON.parse((await render(reportFacts()))['report.json'] ?? '');
  assert.match(facts.headline, /^Accuracy .* points \(95 % interval/);
  assert.equal(facts.verdict, 'better');
  assert.equal(facts.run.workflowId, 'fine-tune-s1k');
});
