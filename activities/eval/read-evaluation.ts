/** Reads an evaluation back from its artifact, each line checked. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactRef } from '../../contracts/stages.ts';
import type { Artifacts } from '../store/artifacts.ts';
import type { Transfer } from '../store/store.ts';
import {
  type GradedPrediction,
  gradedPredictionSchema,
  type QualitativeAnswer,
  qualitativeAnswerSchema,
} from './results.ts';
import { type RevealOrder, revealOrderSchema } from './reveal-order.ts';

export interface StoredEvaluation {
  predictions: GradedPrediction[];
  qualitative: QualitativeAnswer[];
  revealOrder: RevealOrder;
}

export async function readPredictions(
  artifacts: Artifacts,
  ref: ArtifactRef,
  transfer: Transfer = {},
): Promise<GradedPrediction[]> {
  const folder = await artifacts.fetch(ref, transfer, (path) => path === 'predictions.jsonl');
  const text = await readFile(join(folder, 'predictions.jsonl'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => gradedPredictionSchema.parse(JSON.parse(line)));
}

export async function readEvaluation(
  artifacts: Artifacts,
  ref: ArtifactRef,
  transfer: Transfer = {},
): Promise<StoredEvaluation> {
  const predictions = await readPredictions(artifacts, ref, transfer);
  const folder = await artifacts.fetch(ref, transfer, (path) => path.endsWith('.json'));
  const json = async (name: string): Promise<unknown> => JSON.parse(await readFile(join(folder, name), 'utf8'));
  return {
    predictions,
    qualitative: qualitativeAnswerSchema.array().parse(await json('qualitative.json')),
    revealOrder: revealOrderSchema.parse(await json('reveal_order.json')),
  };
}
