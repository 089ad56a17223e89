/** The files of an evaluation: predictions with their grades, for people, for pandas and for the report. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Bool, Field, Int32, List, Schema, Utf8 } from 'apache-arrow';
import { z } from 'zod';
import type { EvalSummary, SamplerAgreement } from '../../contracts/stages.ts';
import { type Grade, gradeSchema, type Prediction, predictionSchema } from '../../contracts/trainer.ts';
import { writeParquet } from '../parquet/write.ts';
import { measureRevealOrder } from './reveal-order.ts';

/** A line of `predictions.jsonl`: a validation row, its answer and the grade. */
export const gradedPredictionSchema = predictionSchema.extend({ kind: z.literal('sample'), grade: gradeSchema });
export type GradedPrediction = z.infer<typeof gradedPredictionSchema>;

/** An item of `qualitative.json`: a prompt without a reference, answered for reading. */
export const qualitativeAnswerSchema = z.strictObject({
  prompt: z.string(),
  prediction: z.string(),
  newTokens: z.int().min(0),
  ended: z.boolean(),
});
export type QualitativeAnswer = z.infer<typeof qualitativeAnswerSchema>;

/** An item of `eval_results.json`, which has exactly these fields. `correct` is null for what could not be graded. */
export interface EvalResult {
  question: string;
  ground_truth: string;
  prediction: string;
  correct: boolean | null;
}

export interface Evaluation {
  /** As the trainer wrote them. */
  predictions: readonly Prediction[];
  /** Of those that are graded, in their order. */
  grades: readonly Grade[];
  generationSeconds: number;
}

const parquetSchema = new Schema([
  new Field('id', new Utf8()),
  new Field('index', new Int32()),
  new Field('question', new Utf8()),
  new Field('reference', new Utf8()),
  new Field('prediction', new Utf8()),
  new Field('verdict', new Utf8()),
  new Field('extracted', new Utf8(), true),
  new Field('reason', new Utf8()),
  new Field('newTokens', new Int32()),
  new Field('ended', new Bool()),
  new Field('revealSteps', new List(new Field('element', new Int32()))),
]);

/**
 * Writes predictions.jsonl, predictions.parquet, eval_results.json, qualitative.json and reveal_order.json into `dir`.
 * The summary counts validation rows only.
 */
export async function writeEvalArtifact(dir: string, evaluation: Evaluation): Promise<EvalSummary> {
  const all = withGrades(evaluation);
  const graded = all.flatMap((row) => (row.kind === 'sample' ? { ...row, kind: row.kind } : []));
  const exact = all.filter(({ kind }) => kind === 'exact');
  const qualitative = evaluation.predictions.filter(({ kind }) => kind === 'qualitative');
  await writeParquet(join(dir, 'predictions.parquet'), parquetSchema, graded.map(toParquetRow));
  await writeFile(join(dir, 'predictions.jsonl'), graded.map((row) => `${JSON.stringify(row)}\n`).join(''));
  await writeJson(join(dir, 'eval_results.json'), graded.map(toEvalResult));
  await writeJson(join(dir, 'qualitative.json'), qualitative.map(toQualitativeAnswer));
  await writeJson(join(dir, 'reveal_order.json'), measureRevealOrder(evaluation.predictions));
  const summary = summarise(graded, evaluation.generationSeconds);
  return exact.length === 0 ? summary : { ...summary, agreement: agreementOf(graded, exact) };
}

export const isGraded = ({ kind }: Prediction): boolean => kind !== 'qualitative';

function withGrades({ predictions, grades }: Evaluation): (Prediction & { grade: Grade })[] {
  const graded = predictions.filter(isGraded);
  if (graded.length !== grades.length) {
    throw new RangeError(`${grades.length} grades came for ${graded.length} predictions; expected one each, in order`);
  }
  return graded.map((prediction, index) => ({ ...prediction, grade: grades[index] as Grade }));
}

type Graded = Pick<GradedPrediction, 'index' | 'prediction' | 'grade'>;

/** Of the rows that both samplers have answered. */
export function agreementOf(cached: readonly Graded[], exact: readonly Graded[]): SamplerAgreement {
  const pairs = exact.flatMap((one) => {
    const other = cached.find(({ index }) => index === one.index);
    return other === undefined ? [] : [{ exact: one, cached: other }];
  });
  const count = (holds: (pair: (typeof pairs)[number]) => boolean): number => pairs.filter(holds).length;
  return {
    samples: pairs.length,
    sameText: count((pair) => pair.cached.prediction === pair.exact.prediction),
    sameVerdict: count((pair) => pair.cached.grade.verdict === pair.exact.grade.verdict),
    correct: {
      cached: count((pair) => pair.cached.grade.verdict === 'correct'),
      exact: count((pair) => pair.exact.grade.verdict === 'correct'),
    },
  };
}

/** Counts by verdict; accuracy is over what could be graded, null where nothing could. */
export function summarise(graded: readonly GradedPrediction[], generationSeconds: number): EvalSummary {
  const count = (verdict: Grade['verdict']): number => graded.filter(({ grade }) => grade.verdict === verdict).length;
  const [correct, incorrect] = [count('correct'), count('incorrect')];
  return {
    samples: graded.length,
    correct,
    incorrect,
    ungradable: count('ungradable'),
    accuracy: correct + incorrect === 0 ? null : correct / (correct + incorrect),
    newTokens: graded.reduce((sum, { newTokens }) => sum + newTokens, 0),
    generationSeconds,
  };
}

/** What the model was asked: the last user message. */
export function questionOf({ prompt }: Pick<Prediction, 'prompt'>): string {
  return (prompt.findLast(({ role }) => role === 'user') ?? prompt.at(-1))?.content ?? '';
}

const toEvalResult = (row: GradedPrediction): EvalResult => ({
  question: questionOf(row),
  ground_truth: row.reference,
  prediction: row.prediction,
  correct: row.grade.verdict === 'ungradable' ? null : row.grade.verdict === 'correct',
});

const toQualitativeAnswer = (row: Prediction): QualitativeAnswer => ({
  prompt: questionOf(row),
  prediction: row.prediction,
  newTokens: row.newTokens,
  ended: row.ended,
});

function toParquetRow(row: GradedPrediction): Record<string, unknown> {
  const { id, index, reference, prediction, newTokens, ended, revealSteps } = row;
  return { id, index, question: questionOf(row), reference, prediction, ...row.grade, newTokens, ended, revealSteps };
}

const writeJson = (file: string, value: unknown): Promise<void> =>
  writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
