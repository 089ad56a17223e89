/** `reverie report RUN`: the report of a finished run, or where it lies. Takes a store; a server only for a workflow id. */
import { openStore } from '../activities/store/open-store.ts';
import { rejected } from '../contracts/failures.ts';
import { readEnvironment } from '../workers/environment.ts';
import { findReport } from './compare/finished-run.ts';

export const reportFormats = { markdown: 'md', html: 'html', json: 'json' } as const;

export interface ReportOptions {
  run: string;
  format: keyof typeof reportFormats;
  /** The address alone. */
  where: boolean;
  out?: NodeJS.WritableStream;
}

export async function report({ run, format, where, out = process.stdout }: ReportOptions): Promise<void> {
  const { storeUrl } = readEnvironment();
  const place = await findReport(run);
  const store = openStore(place.storeUrl ?? storeUrl);
  const key = place.key.replace(/\.json$/, `.${reportFormats[format]}`);
  const address = `${store.url.replace(/\/$/, '')}/${key}`;
  const bytes = await store.get(key);
  if (bytes === null) {
    throw rejected(
      'InvalidSpec',
      `Report ${key} is not in the store ${store.url}; expected the store that the run wrote to; set REVERIE_STORE to it.`,
    );
  }
  out.write(where ? `${address}\n` : bytes);
}
