import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type MappingPlan, planMappings } from '../../../../activities/filter/plan.ts';
import { planDataset } from '../../../../activities/filter/plan-dataset.ts';
import { ModelTokenizer } from '../../../../activities/tokenizer.ts';
import { type RunSpecInput, runSpecSchema } from '../../../../contracts/run-spec.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';
import { tinyModel } from '../../../fixtures/tiny-model.ts';

/** A token a byte, and a template of 3 tokens round the question. */
async function byteTokenizer(context: TestContext): Promise<ModelTokenizer> {
  const folder = await scratchFolder(context);
  for (const [name, content] of Object.entries(tinyModel())) await writeFile(join(folder, name), content);
  await writeFile(join(folder, 'chat_template.jinja'), '<|im_start|>{{ messages[-1].content }}<|im_end|>:');
  return ModelTokenizer.load(folder);
}

const records = (extra: object = {}, count = 10) =>
  Array.from({ length: count }, (_, index) => ({
    where: `row ${index}`,
    record: {
      question: 'q',
      // 5, 6, … 14 tokens as training rows.
      solution: 'x'.repeat(index),
      deepseek_attempt: 'y'.repeat(10),
      deepseek_thinking_trajectory: 'z'.repeat(100),
      ...extra,
    },
  }));

async function plan(
  t: TestContext,
  rows: ReturnType<typeof records>,
  more: { spec?: RunSpecInput; tokenBudget?: number } = {},
) {
  const { spec, ...rest } = more;
  return planMappings({
    records: rows,
    columns: Object.keys(rows[0]?.record ?? {}),
    spec: runSpecSchema.parse({
      filter: { maxTokens: 20, thresholds: [10] },
      eval: { sampler: { maxNewTokens: 4 } },
      ...spec,
    }),
    tokenizer: await byteTokenizer(t),
    ...rest,
  });
}

const names = (plans: MappingPlan[]): string[] =>
  plans.map(({ response, trace, includeTrace }) => (trace ? `${response} + ${trace} (${includeTrace})` : response));

test('counts the rows that each way of mapping keeps, the chosen one first', async (t) => {
  const plans = await plan(t, records());
  assert.deepEqual(names(plans), [
    'deepseek_attempt',
    'deepseek_attempt + deepseek_thinking_trajectory (think-tags)',
    'solution',
  ]);
  const [attempt, traced, solution] = plans as [MappingPlan, MappingPlan, MappingPlan];
  assert.deepEqual([attempt.chosen, traced.chosen, solution.chosen], [true, false, false]);
  assert.deepEqual(attempt.train, { kept: 9, rejected: {} });
  // The one validation row lacks a reference where its solution is the empty one: row 0 is not held out by seed 42.
  assert.deepEqual(attempt.validation, { kept: 1, rejected: {} });
  assert.deepEqual(traced.train, { kept: 0, rejected: { 'over-long': 9 } });
  assert.deepEqual(solution.train, { kept: 8, rejected: { empty: 1 } });
  assert.equal(solution.tokens.mean, 9.5);
  assert.deepEqual(solution.over, [{ threshold: 10, rows: 4 }]);
});

test('counts a trace that the spec asks for as it would be wrapped', async (t) => {
  const spec = { dataset: { mapping: { includeTrace: 'plain' as const } } };
  const plans = await plan(t, records(), { spec });
  assert.deepEqual(names(plans), [
    'deepseek_attempt + deepseek_thinking_trajectory (plain)',
    'deepseek_attempt',
    'solution',
  ]);
  assert.equal(plans[0]?.tokens.max, 4 + 100 + 2 + 10 + 1);
});

test('says how many rows it looked at when the budget ends', async (t) => {
  const [attempt, , solution] = await plan(t, records({}, 100), { tokenBudget: 150 });
  assert.equal(attempt?.rows, 100);
  assert.equal(attempt?.counted, 10);
  assert.equal((attempt?.train.kept ?? 0) + (attempt?.validation.kept ?? 0), 10);
  assert.ok((solution?.counted ?? 0) < 10, 'long solutions use the budget up sooner');
});

test('leaves out another column that holds no text', async (t) => {
  assert.deepEqual(names(await plan(t, records({ gemini_attempt: 7 }))).includes('gemini_attempt'), false);
});

test('plans the files of a data set', async (t) => {
  const from = await scratchFolder(t);
  const lines = records({ source_type: 'x' }, 30).map(({ record }) => `${JSON.stringify(record)}\n`);
  await writeFile(join(from, 'train.jsonl'), lines.join(''));
  const spec = runSpecSchema.parse({ filter: { maxTokens: 20 }, eval: { sampler: { maxNewTokens: 4 } } });
  const result = await planDataset({ from, spec, tokenizer: await byteTokenizer(t) });
  assert.equal(result.rows, 30);
  assert.equal(result.isWhole, true);
  assert.equal(result.columns.at(-1), 'source_type');
  assert.deepEqual(result.mappings[0]?.train, { kept: 27, rejected: {} });
});
