/** Looks at both ends of local data files: a copy that was cut short is refused before anything is stored. */
import type { SourceFile, SourceTree } from '../download/source-tree.ts';
import { refuse } from '../download/source-tree.ts';

const PARQUET_MAGIC = 'PAR1';
/** Magic, footer length, magic. */
const SMALLEST_PARQUET_BYTES = 12;

/** Files of the Hub are not looked at: their hash is checked as they come, and convert reads every row anyway. */
export async function checkDataFiles(tree: SourceTree, files: readonly SourceFile[]): Promise<void> {
  const [first] = files;
  if (first) await tree.checkAccess(first);
  if (tree.type === 'hub') return;
  for (const file of files) {
    if (file.path.toLowerCase().endsWith('.parquet')) await checkParquet(tree, file);
    else if (file.path.toLowerCase().endsWith('.gz')) await checkGzip(tree, file);
  }
}

async function checkParquet(tree: SourceTree, { path, size }: SourceFile): Promise<void> {
  const text = async (start: number, end: number): Promise<string> =>
    (await tree.readRange(path, Math.max(0, start), end)).toString('latin1');
  const begins = (await text(0, 4)) === PARQUET_MAGIC;
  if (!begins) {
    throw refuse(
      'dataset',
      `${tree.label}, file ${path} does not begin with ${PARQUET_MAGIC}; expected a Parquet file; name it after what it holds, or write it again.`,
    );
  }
  const end = size < SMALLEST_PARQUET_BYTES ? '' : await text(size - 8, size);
  const footerBytes = end ? Buffer.from(end, 'latin1').readUInt32LE(0) : 0;
  if (!end.endsWith(PARQUET_MAGIC) || footerBytes + SMALLEST_PARQUET_BYTES > size) {
    throw refuse(
      'dataset',
      `${tree.label}, file ${path} is truncated (${size} bytes without a Parquet footer); expected a whole Parquet file, which ends with ${PARQUET_MAGIC}; copy or write it again.`,
    );
  }
}

async function checkGzip(tree: SourceTree, { path }: SourceFile): Promise<void> {
  const magic = await tree.readRange(path, 0, 2);
  if (magic[0] === 0x1f && magic[1] === 0x8b) return;
  throw refuse(
    'dataset',
    `${tree.label}, file ${path} is not gzip (it begins with 0x${magic.toString('hex')}); expected 0x1f8b; drop .gz from its name if it is plain text, or compress it again.`,
  );
}
