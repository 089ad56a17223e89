/** The files of a source, wherever it lies: what resolve looks at and download saves. */
import { type ReverieFailure, rejected } from '../../contracts/failures.ts';
import type { PinnedSource } from '../../contracts/stages.ts';
import type { ActivityDeps } from '../deps.ts';
import type { Transfer } from '../store/store.ts';
import { openHubTree } from './hub-tree.ts';
import { openLocalTree } from './local-tree.ts';
import { parseSource, type Source, type SourceKind } from './source.ts';

export interface SourceFile {
  /** Relative, with forward slashes. */
  path: string;
  size: number;
  /** What the Hub says it hashes to; null for local files. */
  hash: FileHash | null;
}

export type FileHash = { algorithm: 'sha256' | 'git-blob-sha1'; hex: string };

export interface SourceTree {
  kind: SourceKind;
  type: Source['type'];
  /** For messages: `model hf://owner/name@main`, `dataset file:///…`. */
  label: string;
  /** Where the paths of local files begin; null for the Hub. */
  folder: string | null;
  /** In order of path. */
  files: readonly SourceFile[];
  /** The whole of a small file. */
  read(path: string): Promise<Buffer>;
  /** Bytes `start` up to `end`, which is not included. */
  readRange(path: string, start: number, end: number): Promise<Buffer>;
  /** Fails as reading `file` would, without reading it: a gated repository lists its files to everyone. */
  checkAccess(file: SourceFile): Promise<void>;
  /** Names the content for good: a commit, or the digest of these files. */
  pin(files: readonly SourceFile[], transfer?: Transfer): Promise<PinnedSource>;
  /** Writes the files under `dir`, each checked against what was pinned. */
  save(files: readonly SourceFile[], pinned: PinnedSource, dir: string, transfer?: Transfer): Promise<void>;
}

export type SourceDeps = Pick<ActivityDeps, 'hub' | 'cacheDir'>;

export function openSource(
  kind: SourceKind,
  source: Source,
  deps: SourceDeps,
  transfer?: Transfer,
): Promise<SourceTree> {
  return source.type === 'hub' ? openHubTree(kind, source, deps, transfer) : openLocalTree(kind, source);
}

/** The tree of a source that resolve pinned: a Hub repository at its commit, a folder as it is now. */
export function openPinned(
  kind: SourceKind,
  pinned: PinnedSource,
  deps: SourceDeps,
  transfer?: Transfer,
): Promise<SourceTree> {
  const parsed = parseSource(kind, pinned.source, pinned.revision);
  if (!parsed.ok) throw refuse(kind, parsed.problem);
  return openSource(kind, parsed.source, deps, transfer);
}

export function refuse(kind: SourceKind, ...problems: string[]): ReverieFailure {
  return rejected(kind === 'dataset' ? 'DatasetRejected' : 'ModelRejected', ...problems);
}
