/** Parses a run spec and says what is wrong with one in words that tell a person what to write instead. */
import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { changesSchema, type RunSpec, runSpecSchema } from './run-spec.ts';

export type SpecResult = { ok: true; spec: RunSpec } | { ok: false; problems: string[] };

/** Fills defaults and checks everything that can be checked without I/O. Never throws for bad input. */
export function parseRunSpec(input: unknown): SpecResult {
  if (!isObject(input)) {
    return {
      ok: false,
      problems: [`The run spec is ${describe(input)}; expected a JSON object; write {} for the defaults.`],
    };
  }
  const parsed = runSpecSchema.safeParse(input, { reportInput: true });
  if (!parsed.success) return { ok: false, problems: explainIssues(runSpecSchema, parsed.error) };
  const problems = crossChecks(parsed.data);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, spec: parsed.data };
}

/** The spec with the changes of a `resume` laid over it; fields that they leave out stay as they are. */
export function applyChanges(spec: RunSpec, changes: unknown): SpecResult {
  const parsed = changesSchema.safeParse(changes, { reportInput: true });
  if (!parsed.success) return { ok: false, problems: explainIssues(changesSchema, parsed.error) };
  return parseRunSpec(overlay(spec, parsed.data));
}

function overlay(below: unknown, above: unknown): unknown {
  if (above === undefined) return below;
  if (!isObject(below) || !isObject(above)) return above;
  const names = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...names].map((name) => [name, overlay(below[name], above[name])]));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One sentence an issue: where, what came, what was expected, what to do. */
export function explainIssues(schema: z.ZodType, error: z.ZodError): string[] {
  return error.issues.flatMap((issue) => {
    const where = issue.path.join('.') || 'The run spec';
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(schema, issue.path);
      return issue.keys.map((key) => {
        const near = nearest(key, known);
        const meant = near === null ? elsewhere(schema, key) : [...issue.path, near].join('.');
        const advice = meant === null ? 'remove it.' : `did you mean ${meant}?`;
        return `${[...issue.path, key].join('.')} is not a field of the run spec; expected one of ${known.join(', ')}; ${advice}`;
      });
    }
    const got = 'input' in issue && issue.input !== undefined ? describe(issue.input) : 'missing';
    return [`${where} is ${got}; expected ${expectation(issue)}; correct it or leave the field out for its default.`];
  });
}

function crossChecks(spec: RunSpec): string[] {
  const { globalBatchSize, microBatchSize } = spec.train;
  const problems: string[] = [];
  if (globalBatchSize % microBatchSize !== 0) {
    const up = Math.ceil(globalBatchSize / microBatchSize) * microBatchSize;
    problems.push(
      `train.globalBatchSize ${globalBatchSize} is not a multiple of train.microBatchSize ${microBatchSize}; expected a whole number of micro-batches a step; use ${up} or set microBatchSize 1.`,
    );
  }
  if (spec.eval.sampler.maxNewTokens >= spec.filter.maxTokens) {
    problems.push(
      `eval.sampler.maxNewTokens ${spec.eval.sampler.maxNewTokens} leaves no room for a prompt; expected less than filter.maxTokens ${spec.filter.maxTokens}; lower it or raise filter.maxTokens.`,
    );
  }
  if (spec.policy.minCheckpointSeconds > spec.policy.maxCheckpointSeconds) {
    problems.push(
      `policy.minCheckpointSeconds ${spec.policy.minCheckpointSeconds} is above policy.maxCheckpointSeconds ${spec.policy.maxCheckpointSeconds}; expected floor ≤ ceiling; lower the floor or raise the ceiling.`,
    );
  }
  return problems;
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return article(issue.expected === 'int' ? 'whole number' : issue.expected);
    case 'invalid_value':
      return `one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'too_small':
      return `${issue.origin === 'string' || issue.origin === 'array' ? 'a length ' : 'a value '}${issue.inclusive ? 'of at least' : 'above'} ${issue.minimum}`;
    case 'too_big':
      return `${issue.origin === 'string' || issue.origin === 'array' ? 'a length ' : 'a value '}${issue.inclusive ? 'of at most' : 'below'} ${issue.maximum}`;
    case 'invalid_format':
      return `text that matches ${issue.pattern ?? issue.format}`;
    default:
      return issue.message;
  }
}

const article = (noun: string): string => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return JSON.stringify(value) ?? typeof value;
}

/** Fields of the object at `path`, looking through defaults and nullables. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: z.ZodType | undefined = unwrap(schema);
  for (const part of path) {
    at = at instanceof z.ZodObject ? unwrap((at.shape as Record<string, z.ZodType>)[String(part)]) : undefined;
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: z.ZodType | undefined): z.ZodType | undefined {
  let at = schema;
  while (
    at instanceof z.ZodPrefault ||
    at instanceof z.ZodDefault ||
    at instanceof z.ZodNullable ||
    at instanceof z.ZodOptional
  ) {
    at = at.unwrap() as z.ZodType;
  }
  return at;
}

const flat = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');

function nearest(word: string, known: readonly string[]): string | null {
  const ranked = known
    .map((name) => ({ name, cost: distance(flat(word), flat(name)) }))
    .sort((a, b) => a.cost - b.cost);
  const best = ranked[0];
  return best && best.cost <= Math.max(2, Math.floor(best.name.length / 2)) ? best.name : null;
}

/** A name in a wrong place, such as train.learningRate, right or nearly so. */
function elsewhere(schema: z.ZodType | undefined, word: string): string | null {
  const ranked = placesOf(schema)
    .map((path) => ({ path: path.join('.'), cost: distance(flat(word), flat(path.at(-1) ?? '')) }))
    .sort((a, b) => a.cost - b.cost);
  const best = ranked[0];
  return best && best.cost <= Math.min(2, Math.floor(word.length / 4)) ? best.path : null;
}

function placesOf(schema: z.ZodType | undefined, path: readonly string[] = []): string[][] {
  const object = unwrap(schema);
  if (!(object instanceof z.ZodObject)) return [];
  return Object.entries(object.shape as Record<string, z.ZodType>).flatMap(([name, field]) => [
    [...path, name],
    ...placesOf(field, [...path, name]),
  ]);
}
