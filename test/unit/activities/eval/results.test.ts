import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gradedPredictionSchema, questionOf, writeEvalArtifact } from '../../../../activities/eval/results.ts';
import { readParquet } from '../../../../activities/parquet/read.ts';
import { grade, prediction } from './prediction.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-eval-'));
});
after(() => rm(dir, { recursive: true }));

const evaluation = {
  predictions: [
    prediction(0),
    prediction(1, { prediction: 'no idea', newTokens: 2, revealSteps: [1, 0] }),
    prediction(2, { reference: 'a proof' }),
    prediction(0, { kind: 'qualitative', id: 'q0', prompt: [{ role: 'user', content: '为什么？' }], newTokens: 100 }),
  ],
  grades: [grade('correct'), grade('incorrect'), grade('ungradable')],
  generationSeconds: 12.5,
};

test('counts samples by verdict and leaves the ungradable out of the accuracy', async () => {
  assert.deepEqual(await writeEvalArtifact(dir, evaluation), {
    samples: 3,
    correct: 1,
    incorrect: 1,
    ungradable: 1,
    accuracy: 0.5,
    newTokens: 10,
    generationSeconds: 12.5,
  });
  assert.deepEqual((await readdir(dir)).sort(), [
    'eval_results.json',
    'predictions.jsonl',
    'predictions.parquet',
    'qualitative.json',
    'reveal_order.json',
  ]);
});

test('tells how far the cached sampler agrees with the exact one, and counts the first alone', async () => {
  const again = [0, 1, 2].map((index) => prediction(index, { kind: 'exact' }));
  const summary = await writeEvalArtifact(dir, {
    ...evaluation,
    predictions: [...evaluation.predictions, ...again],
    grades: [...evaluation.grades, grade('correct'), grade('correct'), grade('ungradable')],
  });
  assert.deepEqual(summary.agreement, {
    samples: 3,
    sameText: 2,
    sameVerdict: 2,
    correct: { cached: 1, exact: 2 },
  });
  assert.equal(summary.samples, 3);
  assert.equal((await readFile(join(dir, 'predictions.jsonl'), 'utf8')).trim().split('\n').length, 3);
});

test('writes eval_results.json with exactly the four fields, null for what could not be graded', async () => {
  const results = JSON.parse(await readFile(join(dir, 'eval_results.json'), 'utf8'));
  assert.deepEqual(results[0], {
    question: 'What is 0 + 1?',
    ground_truth: '1',
    prediction: '\\boxed{1}',
    correct: true,
  });
  assert.deepEqual(
    results.map(({ correct }: { correct: unknown }) => correct),
    [true, false, null],
  );
});

test('writes each prediction with its grade, for programs and for pandas', async () => {
  const lines = (await readFile(join(dir, 'predictions.jsonl'), 'utf8')).trimEnd().split('\n');
  const rows = lines.map((line) => gradedPredictionSchema.parse(JSON.parse(line)));
  assert.deepEqual(
    rows.map((row) => row.grade.verdict),
    ['correct', 'incorrect', 'ungradable'],
  );
  const parquet = [];
  for await (const row of readParquet<Record<string, unknown>>(join(dir, 'predictions.parquet'))) parquet.push(row);
  assert.equal(parquet.length, 3);
  assert.deepEqual(parquet[1]?.revealSteps, [1, 0]);
  assert.equal(parquet[2]?.extracted, null);
});

test('keeps the qualitative prompts apart', async () => {
  assert.deepEqual(JSON.parse(await readFile(join(dir, 'qualitative.json'), 'utf8')), [
    { prompt: '为什么？', prediction: '\\boxed{1}', newTokens: 100, ended: true },
  ]);
});

test('has no accuracy when nothing could be graded', async () => {
  const summary = await writeEvalArtifact(dir, {
    predictions: [prediction(0)],
    grades: [grade('ungradable')],
    generationSeconds: 1,
  });
  assert.equal(summary.accuracy, null);
});

test('refuses grades that are not one a sample', async () => {
  await assert.rejects(writeEvalArtifact(dir, { ...evaluation, grades: [] }), /0 grades came for 3 predictions/);
});

test('takes the last user message as the question', () => {
  assert.equal(
    questionOf({
      prompt: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
        { role: 'user', content: 'c' },
      ],
    }),
    'c',
  );
  assert.equal(questionOf({ prompt: [{ role: 'system', content: 'only' }] }), 'only');
});
