/** Chooses which files of a source are the data set: the split's, or all data files where no name has the split. */
import type { SourceFile, SourceTree } from './source-tree.ts';
import { refuse } from './source-tree.ts';

/** Written by `datasets` and by our own store beside the data; about it, not of it. */
const METADATA = new Set([
  'manifest.json',
  'dataset_info.json',
  'dataset_infos.json',
  'dataset_dict.json',
  'state.json',
]);
const CARDS = new Set(['README.md', 'LICENSE', 'LICENSE.md', 'LICENSE.txt']);

const formats = { '.jsonl': 'JSONL', '.jsonl.gz': 'JSONL', '.json': 'JSON', '.parquet': 'Parquet' } as const;
type Format = (typeof formats)[keyof typeof formats];

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export function formatOf(path: string): Format | null {
  const name = nameOf(path);
  if (METADATA.has(name)) return null;
  const suffix = (Object.keys(formats) as (keyof typeof formats)[]).find((ending) =>
    name.toLowerCase().endsWith(ending),
  );
  return suffix ? formats[suffix] : null;
}

export interface DatasetFiles {
  /** In order of path, which is the order of the rows. */
  data: SourceFile[];
  /** Card and licence at the top, for people. */
  cards: SourceFile[];
}

export function selectDatasetFiles(tree: SourceTree, split: string): DatasetFiles {
  const readable = tree.files.filter((file) => formatOf(file.path) !== null);
  const named = readable.filter((file) => beginsWith(nameOf(file.path), split));
  const data = named.length > 0 ? named : readable;
  if (data.length === 0) {
    throw refuse(
      'dataset',
      `${tree.label} holds no data (${listing(tree.files)}); expected *.jsonl, *.jsonl.gz, *.json or *.parquet; convert it to one of these, or correct dataset.source.`,
    );
  }
  const kinds = [...new Set(data.map((file) => formatOf(file.path)))];
  if (kinds.length > 1) {
    throw refuse(
      'dataset',
      `${tree.label}, split ${split} has its rows as ${kinds.join(' and as ')} (${listing(data)}); expected one format, or each row might be read twice; remove one, or name a split or file that has only one.`,
    );
  }
  const empty = data.filter((file) => file.size === 0);
  if (empty.length > 0) {
    throw refuse(
      'dataset',
      `${tree.label}, file ${empty.map((file) => file.path).join(', ')} is empty (0 bytes); expected rows; write the file again, or remove it.`,
    );
  }
  return { data, cards: tree.files.filter((file) => CARDS.has(file.path)) };
}

/** `train` is in `train-00000-of-00001.parquet` and `train.jsonl`, not in `training.json`. */
function beginsWith(name: string, split: string): boolean {
  return name.startsWith(split) && !/^[A-Za-z0-9]/.test(name.slice(split.length));
}

export function listing(files: readonly SourceFile[]): string {
  if (files.length === 0) return 'no file at all';
  const names = files.slice(0, 5).map((file) => file.path);
  return names.join(', ') + (files.length > 5 ? ` and ${files.length - 5} more` : '');
}
