/**
 * One text for one JSON value: object keys in order of their UTF-16 code units, no white space, undefined left out
 * (RFC 8785 for the values that we use). Hashes of artifacts and stages are taken over this text.
 */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/** Throws TypeError for what JSON cannot hold: NaN, infinities, functions, big integers. */
export function canonicalJson(value: JsonValue): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no JSON form; expected a finite number`);
    return JSON.stringify(value);
  }
  if (isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`a ${typeof value} has no JSON form`);
  const members = Object.entries(value as Record<string, JsonValue | undefined>)
    .filter((member): member is [string, JsonValue] => member[1] !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

// Array.isArray alone narrows a readonly array to any[].
const isArray = (value: JsonValue): value is readonly JsonValue[] => Array.isArray(value);
