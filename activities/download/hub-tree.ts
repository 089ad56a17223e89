/** A source that is a repository of the Hugging Face Hub, pinned to a commit. */
import { copyFile, link, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { datasetInfo, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { inParallel } from '../store/in-parallel.ts';
import type { Transfer } from '../store/store.ts';
import { exclusively } from './exclusively.ts';
import { fetchFile } from './fetch-file.ts';
import { HubClient } from './hub-client.ts';
import type { Source, SourceKind } from './source.ts';
import type { FileHash, SourceDeps, SourceFile, SourceTree } from './source-tree.ts';

const PARALLEL_FILES = 4;

export async function openHubTree(
  kind: SourceKind,
  source: Extract<Source, { type: 'hub' }>,
  { hub, cacheDir }: SourceDeps,
  transfer: Transfer = {},
): Promise<SourceTree> {
  const { name, revision, uri } = source;
  const client = new HubClient(kind, name, revision, hub);
  const api = {
    hubUrl: client.endpoint,
    // The token goes in here too: the library takes only tokens that begin with "hf_", and mirrors have others.
    fetch: ((url: string) =>
      client.request(url, { ...(transfer.signal && { signal: transfer.signal }) })) as typeof fetch,
  };
  const info = kind === 'model' ? modelInfo<'sha'> : datasetInfo<'sha'>;
  const { sha: commit } = await info({ name, revision, additionalFields: ['sha'], ...api });

  const files: SourceFile[] = [];
  // Data often lies in folders; a model's files lie at the top, beside folders of other checkpoints.
  const listing = listFiles({ repo: { type: kind, name }, revision: commit, recursive: kind === 'dataset', ...api });
  for await (const entry of listing) {
    if (entry.type === 'file' && isInside(entry.path)) {
      files.push({ path: entry.path, size: entry.size, hash: hashOf(entry) });
    }
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));

  const bytes = async (path: string, headers: Record<string, string> = {}): Promise<Buffer> => {
    const response = await client.request(client.fileUrl(commit, path), {
      headers,
      ...(transfer.signal && { signal: transfer.signal }),
    });
    return Buffer.from(await response.arrayBuffer());
  };

  return {
    kind,
    type: 'hub',
    label: client.label,
    folder: null,
    files,
    read: (path) => bytes(path),
    readRange: (path, start, end) => bytes(path, { Range: `bytes=${start}-${end - 1}` }),
    async checkAccess(file) {
      await client.request(client.fileUrl(commit, file.path), { method: 'HEAD' });
    },
    pin: () => Promise.resolve({ source: uri, revision: commit }),
    save: (selected, _pinned, dir, saving) => {
      const folder = downloadFolder(cacheDir, kind, name, commit);
      return exclusively(folder, saving, async () => {
        await fetchAll(selected, saving, (file, each) =>
          fetchFile({
            client,
            url: client.fileUrl(commit, file.path),
            file,
            to: join(folder, file.path),
            transfer: each,
          }),
        );
        for (const { path } of selected) await place(join(folder, path), join(dir, path));
      });
    },
  };
}

/** Where a download grows, so that it goes on after a restart of the worker, until its artifact is committed. */
function downloadFolder(cacheDir: string, kind: SourceKind, name: string, commit: string): string {
  return join(cacheDir, 'downloads', `${kind}-${name.replace('/', '--')}-${commit}`);
}

/** Removes what a download of this commit left. */
export function clearDownload(cacheDir: string, kind: SourceKind, name: string, commit: string): Promise<void> {
  const folder = downloadFolder(cacheDir, kind, name, commit);
  return exclusively(folder, {}, () => rm(folder, { recursive: true, force: true }));
}

/** A listing is the server's word: no path of it may lead out of the folder it is saved in. */
function isInside(path: string): boolean {
  return !path.includes('\\') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function hashOf(entry: ListFileEntry): FileHash | null {
  if (entry.lfs) return { algorithm: 'sha256', hex: entry.lfs.oid };
  return entry.oid ? { algorithm: 'git-blob-sha1', hex: entry.oid } : null;
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rm(to, { force: true });
  // A second name costs no space; across file systems it takes a copy.
  await link(from, to).catch(() => copyFile(from, to));
}

/** The first failure stops the others, and all have stopped when it is thrown: none writes on behind a retry. */
async function fetchAll(
  files: readonly SourceFile[],
  transfer: Transfer = {},
  work: (file: SourceFile, transfer: Transfer) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const signal = transfer.signal ? AbortSignal.any([transfer.signal, stop.signal]) : stop.signal;
  const failures: unknown[] = [];
  await inParallel(files, PARALLEL_FILES, async (file) => {
    try {
      await work(file, { ...transfer, signal });
    } catch (error) {
      failures.push(error);
      stop.abort();
      // The others end as aborted: the first failure tells why.
      throw failures[0];
    }
  });
}
