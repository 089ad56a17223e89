/** A reporter of node:test that writes one line for each skipped test: its file, title and reason. */
import { relative } from 'node:path';

/** @param {AsyncIterable<import('node:test/reporters').TestEvent>} source */
export default async function* skips(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' || data.skip === undefined || data.skip === false) continue;
    const file = data.file === undefined ? '' : `${relative(process.cwd(), data.file)}: `;
    yield `${file}${data.name}: ${typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given'}\n`;
  }
}
