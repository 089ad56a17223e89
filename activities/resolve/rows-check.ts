/** Reads a local data set as convert will, so that bad rows are told of before anything is stored. */
import { rejected } from '../../contracts/failures.ts';
import type { RunSpec } from '../../contracts/run-spec.ts';
import { peek } from '../convert/convert.ts';
import { onlyEmptyResponses, resolveMapping } from '../convert/mapping.ts';
import { type DatasetFile, readRecords } from '../convert/records.ts';
import { convertRecord } from '../convert/row.ts';
import { formatOf } from '../download/dataset-files.ts';
import type { SourceFile } from '../download/source-tree.ts';
import type { Transfer } from '../store/store.ts';
import { takingTurns } from '../turn.ts';

/** What is read within a few seconds. Of larger data only the columns are checked; convert meets its bad rows. */
const MAX_READ_BYTES = 64 * 1024 * 1024;

export interface RowsCheck {
  folder: string;
  files: readonly SourceFile[];
  mapping: RunSpec['dataset']['mapping'];
  /** Text that the model's tokenizer reads as the mask token: within a row it could never be learned. */
  maskToken: string;
  transfer?: Transfer | undefined;
}

/** Throws DatasetRejected: columns that the mapping lacks, rows that cannot be read or hold the mask token. */
export async function checkRows({ folder, files, mapping: wanted, maskToken, transfer }: RowsCheck): Promise<void> {
  const readable: DatasetFile[] = files.flatMap(({ path }) => {
    const format = formatOf(path);
    return format ? [{ path, format }] : [];
  });
  const { columns, withText } = await peek(folder, readable);
  const mapping = resolveMapping(wanted, columns);
  if (files.reduce((sum, file) => sum + file.size, 0) > MAX_READ_BYTES) return;

  const turn = takingTurns({ signal: transfer?.signal, progress: () => transfer?.onBytes?.(0) });
  let rows = 0;
  let responses = 0;
  for await (const located of readRecords(folder, readable)) {
    const { row, texts } = convertRecord(located, mapping, rows++);
    if (row.response.trim() !== '') responses += 1;
    for (const role of ['question', 'response', 'trace'] as const) {
      // The reference is compared, never tokenised; the trace only where it goes into the response.
      if (role === 'trace' && mapping.includeTrace === 'none') continue;
      if (!texts[role].includes(maskToken)) continue;
      throw rejected(
        'DatasetRejected',
        `${located.where}, column ${mapping[role]} holds the text ${maskToken}, which the tokenizer reads as the mask token; expected text without it; remove it from the row, or the row.`,
      );
    }
    await turn();
  }
  if (responses === 0) throw onlyEmptyResponses(mapping, rows, withText);
}
