/** A reporter of node:test that writes one line of JSON for each test that was skipped or failed: why, and where. */
import { relative } from 'node:path';
import { inspect } from 'node:util';

/** @typedef {{ skipped: string } | { failed: string, file: string | null }} Ending */

/** Of what a failure says: enough to know it by. */
const MOST_LINES = 30;

/** @param {AsyncIterable<import('node:test/reporters').TestEvent>} source */
export default async function* endings(source) {
  for await (const event of source) {
    const ending = endingOf(event);
    if (ending !== null) yield `${JSON.stringify(ending)}\n`;
  }
}

/**
 * @param {import('node:test/reporters').TestEvent} event
 * @returns {Ending | null}
 */
function endingOf({ type, data }) {
  if (type !== 'test:pass' && type !== 'test:fail') return null;
  const file = data.file === undefined ? null : relative(process.cwd(), data.file);
  const title = `${file === null ? '' : `${file}: `}${data.name}`;
  if (type === 'test:pass') {
    if (data.skip === undefined || data.skip === false) return null;
    return {
      skipped: `${title}: ${typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given'}`,
    };
  }
  const { error } = data.details;
  // Its subtests are told themselves.
  if (/** @type {{ failureType?: string }} */ (error).failureType === 'subtestsFailed') return null;
  const said = inspect(error.cause ?? error).split('\n');
  return { failed: [title, ...said.slice(0, MOST_LINES)].join('\n  '), file };
}
