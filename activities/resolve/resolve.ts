/** The first stage: fills and checks the spec, looks at both sources, and pins them for good. Stores nothing. */
import { ReverieFailure, rejected } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import { parseRunSpec } from '../../contracts/spec-problems.ts';
import type { PinnedSource } from '../../contracts/stages.ts';
import { selectDatasetFiles } from '../download/dataset-files.ts';
import { selectModelFiles } from '../download/model-files.ts';
import { parseSource, type Source } from '../download/source.ts';
import { openSource, type SourceDeps } from '../download/source-tree.ts';
import type { Transfer } from '../store/store.ts';
import { checkDataFiles } from './dataset-check.ts';
import { checkModel } from './model-check.ts';
import { checkRows } from './rows-check.ts';

export interface Resolved {
  spec: RunSpec;
  dataset: PinnedSource;
  model: PinnedSource;
}

export async function resolveRun(input: unknown, deps: SourceDeps, transfer?: Transfer): Promise<Resolved> {
  const parsed = parseRunSpec(input);
  if (!parsed.ok) throw rejected('InvalidSpec', ...parsed.problems);
  const { spec } = parsed;
  const sources = parseSources(spec);

  // All is looked at before anything is pinned: pinning a folder reads all of it, and refusals must come quickly.
  const [dataset, model] = await bothOrAllProblems(
    lookAtDataset(sources.dataset, spec.dataset.split, deps, transfer),
    lookAtModel(sources.model, deps, transfer),
  );
  const { folder } = dataset.tree;
  if (folder !== null) {
    const { maskToken } = model;
    await checkRows({ folder, files: dataset.files, mapping: spec.dataset.mapping, maskToken, transfer });
  }
  const { maxTokens } = spec.filter;
  if (maxTokens > model.contextTokens) {
    throw rejected(
      'InvalidSpec',
      `filter.maxTokens ${maxTokens} is beyond the context of ${model.tree.label}; expected at most ${model.contextTokens}, the max_position_embeddings of its config.json; lower it, or use a model of a longer context.`,
    );
  }
  return {
    spec,
    dataset: await dataset.tree.pin([...dataset.files, ...dataset.cards], transfer),
    model: await model.tree.pin(model.files, transfer),
  };
}

function parseSources(spec: RunSpec): { dataset: Source; model: Source } {
  const dataset = parseSource('dataset', spec.dataset.source, spec.dataset.revision);
  const model = parseSource('model', spec.model.source, spec.model.revision);
  if (dataset.ok && model.ok) return { dataset: dataset.source, model: model.source };
  throw rejected('InvalidSpec', ...[dataset, model].flatMap((result) => (result.ok ? [] : [result.problem])));
}

async function lookAtDataset(source: Source, split: string, deps: SourceDeps, transfer?: Transfer) {
  const tree = await openSource('dataset', source, deps, transfer);
  const { data: files, cards } = selectDatasetFiles(tree, split);
  await checkDataFiles(tree, files);
  return { tree, files, cards };
}

async function lookAtModel(source: Source, deps: SourceDeps, transfer?: Transfer) {
  const tree = await openSource('model', source, deps, transfer);
  const files = await selectModelFiles(tree);
  return { tree, files, ...(await checkModel(tree, files)) };
}

/** With both refused, one failure tells of both, so that nobody mends them one run at a time. */
async function bothOrAllProblems<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  const errors = [a, b].filter((result) => result.status === 'rejected').map((result): unknown => result.reason);
  const refusals = errors.filter(isRefusal);
  const [refusal] = refusals;
  if (!refusal) throw errors[0];
  throw rejected(refusal.type, ...refusals.flatMap((each) => each.details.problems));
}

type RefusalType = 'DatasetRejected' | 'ModelRejected';

function isRefusal(error: unknown): error is ReverieFailure<RefusalType> & { type: RefusalType } {
  return error instanceof ReverieFailure && (error.type === 'DatasetRejected' || error.type === 'ModelRejected');
}
