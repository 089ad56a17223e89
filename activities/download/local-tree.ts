/** A source that is a file or folder of this worker's host, pinned by the digest of its content. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ManifestFile, PinnedSource } from '../../contracts/stages.ts';
import { digestOf } from '../store/artifact-manifest.ts';
import { CHUNK_BYTES, type Hashed, hashFile, tap } from '../store/hashing.ts';
import type { Transfer } from '../store/store.ts';
import type { Source, SourceKind } from './source.ts';
import { refuse, type SourceFile, type SourceTree } from './source-tree.ts';

/** A folder with more is not a data set but somebody's home. */
const MAX_FILES = 10_000;

export async function openLocalTree(kind: SourceKind, source: Extract<Source, { type: 'local' }>): Promise<SourceTree> {
  const { path: root, uri } = source;
  const label = `${kind} ${uri}`;
  const found = await stat(root).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) throw refuse(kind, unreadable(kind, root, found));
  if (kind === 'model' && !found.isDirectory()) {
    throw refuse(kind, `${label} is a file; expected a Hugging Face model folder; name the folder that holds it.`);
  }

  // A single file is a folder of one.
  const folder = found.isDirectory() ? root : dirname(root);
  const files = found.isDirectory()
    ? await listFolder(kind, root, kind === 'dataset')
    : [{ path: basename(root), size: found.size, hash: null }];
  const at = (path: string): string => join(folder, path);

  const readRange = async (path: string, start: number, end: number): Promise<Buffer> => {
    const handle = await open(at(path));
    try {
      const buffer = Buffer.alloc(end - start);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, start);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  };

  return {
    kind,
    type: 'local',
    label,
    folder,
    files,
    read: (path) => readFile(at(path)),
    readRange,
    async checkAccess(file) {
      await readRange(file.path, 0, 1).catch((error: NodeJS.ErrnoException) => {
        throw refuse(kind, unreadable(kind, at(file.path), error));
      });
    },
    async pin(selected, transfer) {
      const hashed: ManifestFile[] = [];
      for (const { path } of selected) hashed.push({ path, ...(await hashFile(at(path), transfer)) });
      return { source: uri, revision: digestOf(hashed) };
    },
    async save(selected, pinned, dir, transfer) {
      const saved: ManifestFile[] = [];
      for (const { path } of selected) saved.push({ path, ...(await copy(at(path), join(dir, path), transfer)) });
      mustMatch(kind, pinned, digestOf(saved));
    },
  };
}

function mustMatch(kind: SourceKind, pinned: PinnedSource, digest: string): void {
  if (digest === pinned.revision) return;
  throw refuse(
    kind,
    `${kind} ${pinned.source} changed while the run was under way: its content is ${digest.slice(0, 12)}; expected ${pinned.revision.slice(0, 12)}, which the run was started with; leave it alone and start the run again.`,
  );
}

async function listFolder(kind: SourceKind, root: string, recursive: boolean): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  const walk = async (folder: string): Promise<void> => {
    const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      throw refuse(kind, unreadable(kind, join(root, folder), error));
    });
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue;
      const path = posix.join(folder, entry.name);
      // Follows links: the Hub's own cache is a folder of links. One that leads nowhere counts as no file.
      const target = await stat(join(root, path)).catch(() => null);
      if (target?.isFile()) files.push({ path, size: target.size, hash: null });
      else if (target?.isDirectory() && recursive && !entry.isSymbolicLink()) await walk(path);
      if (files.length > MAX_FILES) {
        throw refuse(
          kind,
          `${kind} folder ${root} holds more than ${MAX_FILES} files; expected a folder of its own; name the one that holds only the ${kind}.`,
        );
      }
    }
  };
  await walk('');
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function copy(from: string, to: string, transfer?: Transfer): Promise<Hashed> {
  await mkdir(dirname(to), { recursive: true });
  const hash = createHash('sha256');
  const source = createReadStream(from, { highWaterMark: CHUNK_BYTES });
  await pipeline(tap(source, hash, transfer), createWriteStream(to));
  return { size: (await stat(to)).size, sha256: hash.digest('hex') };
}

function unreadable(kind: SourceKind, path: string, error: NodeJS.ErrnoException): string {
  const came =
    error.code === 'ENOENT' || error.code === 'ENOTDIR'
      ? 'does not exist'
      : error.code === 'EACCES' || error.code === 'EPERM'
        ? 'may not be read by this worker'
        : `cannot be read (${error.message})`;
  return `${kind} path ${path} ${came} on the CPU worker's host ${hostname()}; expected a ${kind === 'model' ? 'folder' : 'file or folder'} there; correct ${kind}.source, or copy it to that host.`;
}
