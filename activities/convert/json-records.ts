/** Cuts JSON Lines and JSON arrays into records, streamed, at the level of bytes, so that each error has its line. */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';

export interface JsonPiece {
  bytes: Uint8Array;
  /** Line of the file on which it begins, from 1. */
  line: number;
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** The bytes of a file, unpacked where its name ends in .gz, without a byte order mark. */
export async function* fileBytes(file: string): AsyncGenerator<Uint8Array, void, undefined> {
  const raw = createReadStream(file);
  const stream = file.toLowerCase().endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
  // pipe() hands no errors on.
  if (stream !== raw) raw.on('error', (error) => stream.destroy(error));
  try {
    let first = true;
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      yield first && BYTE_ORDER_MARK.every((byte, index) => chunk[index] === byte) ? chunk.subarray(3) : chunk;
      first = false;
    }
  } finally {
    raw.destroy();
  }
}

/** Lines that are not blank. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonPiece, void, undefined> {
  let line = 1;
  let held: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const bytes = joined(held, chunk.subarray(start, end));
      if (!isBlank(bytes)) yield { bytes, line };
      held = [];
      start = end + 1;
      line++;
    }
    // Copied, since a stream may use its chunk's memory again.
    if (start < chunk.length) held.push(chunk.slice(start));
  }
  const bytes = joined(held, new Uint8Array());
  if (!isBlank(bytes)) yield { bytes, line };
}

/** Thrown when the text between the elements of an array is not what JSON puts there. */
export class BrokenArray extends Error {
  readonly line: number;
  constructor(line: number, came: string) {
    super(came);
    this.line = line;
  }
}

/** The elements of the one array that the text holds. Brackets inside strings do not count. */
export async function* jsonArray(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonPiece, void, undefined> {
  let line = 1;
  let elementLine = 1;
  let depth = 0;
  let inString = false;
  let escaped = false;
  let ended = false;
  let elements = 0;
  let held: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (byte === NEWLINE) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (isSpace(byte)) continue;
      if (ended) throw new BrokenArray(line, 'text after the end of the array');
      if (depth === 0) {
        if (byte !== OPEN_BRACKET) throw new BrokenArray(line, 'no array');
        depth = 1;
        start = at + 1;
        elementLine = line;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (depth === 1) elementLine = line;
        depth++;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte === COMMA) {
        if (depth === 1) {
          const bytes = joined(held, chunk.subarray(start, at));
          const isEmptyArray = byte !== COMMA && elements === 0;
          if (!isBlank(bytes)) yield { bytes, line: elementLine };
          else if (!isEmptyArray) throw new BrokenArray(line, 'a comma without an element');
          held = [];
          start = at + 1;
          elements++;
          elementLine = line;
        }
        if (byte !== COMMA) depth--;
        ended = depth === 0;
      }
    }
    if (start < chunk.length && depth > 0) held.push(chunk.slice(start));
  }
  if (!ended) throw new BrokenArray(line, 'the end of the file inside the array');
}

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const isBlank = (bytes: Uint8Array): boolean => bytes.every(isSpace);

function joined(held: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  return held.length === 0 ? last : Buffer.concat([...held, last]);
}
