/** Saves a pinned data set or model into a folder, every byte checked against what was pinned. */
import type { DownloadSummary, PinnedSource } from '../../contracts/stages.ts';
import type { Transfer } from '../store/store.ts';
import { selectDatasetFiles } from './dataset-files.ts';
import { clearDownload } from './hub-tree.ts';
import { selectModelFiles } from './model-files.ts';
import { completeModelFolder } from './model-folder.ts';
import { parseSource, type SourceKind } from './source.ts';
import { openPinned, type SourceDeps, type SourceFile } from './source-tree.ts';

interface Target {
  deps: SourceDeps;
  /** Empty; what it holds afterwards is the artifact. */
  dir: string;
  transfer?: Transfer;
}

export async function saveDataset({
  pinned,
  split,
  deps,
  dir,
  transfer,
}: Target & { pinned: PinnedSource; split: string }): Promise<DownloadSummary> {
  const tree = await openPinned('dataset', pinned, deps, transfer);
  const { data, cards } = selectDatasetFiles(tree, split);
  const files = [...data, ...cards];
  await tree.save(files, pinned, dir, transfer);
  return summary(pinned, files);
}

export async function saveModel({
  pinned,
  deps,
  dir,
  transfer,
}: Target & { pinned: PinnedSource }): Promise<DownloadSummary> {
  const tree = await openPinned('model', pinned, deps, transfer);
  const files = await selectModelFiles(tree);
  await tree.save(files, pinned, dir, transfer);
  await completeModelFolder(dir, tree.label);
  return summary(pinned, files);
}

/** Frees the disk of what was kept to continue from. Call once the artifact is in the store. */
export async function forgetDownload(kind: SourceKind, pinned: PinnedSource, { cacheDir }: SourceDeps): Promise<void> {
  const parsed = parseSource(kind, pinned.source, pinned.revision);
  if (parsed.ok && parsed.source.type === 'hub') {
    await clearDownload(cacheDir, kind, parsed.source.name, pinned.revision);
  }
}

function summary({ source, revision }: PinnedSource, files: readonly SourceFile[]): DownloadSummary {
  return { source, revision, files: files.length, bytes: files.reduce((sum, file) => sum + file.size, 0) };
}
