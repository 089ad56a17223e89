/** What a plan reads of the sources: pinned as `resolve` pins them, the data set's files, the model's small files. */
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { peek } from '../../activities/convert/convert.ts';
import { resolveMapping } from '../../activities/convert/mapping.ts';
import { dataFiles, readRecords } from '../../activities/convert/records.ts';
import { selectDatasetFiles } from '../../activities/download/dataset-files.ts';
import { selectModelFiles } from '../../activities/download/model-files.ts';
import { parseSource } from '../../activities/download/source.ts';
import {
  openPinned,
  openSource,
  type SourceDeps,
  type SourceFile,
  type SourceTree,
} from '../../activities/download/source-tree.ts';
import { resolveRun } from '../../activities/resolve/resolve.ts';
import type { Transfer } from '../../activities/store/store.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { PinnedSource } from '../../contracts/stages.ts';

export interface OpenedSources {
  dataset: PinnedSource;
  model: PinnedSource;
  /** Local folders under the scratch folder: the split's data files, and the model without its weights. */
  datasetDir: string;
  modelDir: string;
  /** config.json. */
  config: unknown;
}

interface OpenRequest {
  spec: RunSpec;
  deps: SourceDeps;
  /** Empty; the caller removes it. */
  scratch: string;
  transfer: Transfer;
}

/** Throws what the run's first stage would throw: bad input by name, StoreUnavailable where the Hub is not reached. */
export async function openSources({ spec, deps, scratch, transfer }: OpenRequest): Promise<OpenedSources> {
  const { dataset, model } = await resolveRun(spec, deps, transfer);
  const [datasetDir, modelDir] = [join(scratch, 'dataset'), join(scratch, 'model')];
  const data = await openPinned('dataset', dataset, deps, transfer);
  const selected = selectDatasetFiles(data, spec.dataset.split).data;
  if (data.folder === null) await data.save(selected, dataset, datasetDir, transfer);
  else await linkFiles(data.folder, selected, datasetDir);

  const tree = await openPinned('model', model, deps, transfer);
  await saveSmallFiles(tree, await selectModelFiles(tree), modelDir);
  const config: unknown = JSON.parse(await readFile(join(modelDir, 'config.json'), 'utf8'));
  return { dataset, model, datasetDir, modelDir, config };
}

export interface LocalData {
  rows: number;
  columns: string[];
}

/** What can be told of data on this host without a model; null for data on the Hub. */
export async function lookAtLocalData({ spec, deps, scratch, transfer }: OpenRequest): Promise<LocalData | null> {
  const parsed = parseSource('dataset', spec.dataset.source, spec.dataset.revision);
  if (!parsed.ok || parsed.source.type !== 'local') return null;
  const tree = await openSource('dataset', parsed.source, deps, transfer);
  const folder = join(scratch, 'local-data');
  await linkFiles(tree.folder ?? '', selectDatasetFiles(tree, spec.dataset.split).data, folder);
  const files = await dataFiles(folder);
  const { columns } = await peek(folder, files);
  const mapping = resolveMapping(spec.dataset.mapping, columns);
  let rows = 0;
  for await (const _ of readRecords(folder, files, { columns: [mapping.question] })) rows++;
  return { rows, columns };
}

/** Local data is read where it lies. */
async function linkFiles(folder: string, files: readonly SourceFile[], to: string): Promise<void> {
  for (const { path } of files) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await symlink(join(folder, path), join(to, path));
  }
}

async function saveSmallFiles(tree: SourceTree, files: readonly SourceFile[], to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const { path } of files.filter((file) => !file.path.endsWith('.safetensors'))) {
    await writeFile(join(to, path), await tree.read(path));
  }
}
