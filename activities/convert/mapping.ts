/** Which column of a data set becomes what: presets, explicit names over them, and words for what does not fit. */
import { type ReverieFailure, rejected } from '../../contracts/failures.ts';
import { mappingPresets, type RunSpec } from '../../contracts/run-spec.ts';

type MappingSpec = RunSpec['dataset']['mapping'];
type Preset = MappingSpec['preset'];

/** Column names, settled against the columns that the data set has. */
export interface Mapping {
  question: string;
  response: string;
  /** Null where the data set has none; then the rows are converted without. */
  trace: string | null;
  reference: string;
  source: string | null;
  id: string | null;
  includeTrace: MappingSpec['includeTrace'];
  systemPrompt: string | null;
}

type Role = 'question' | 'response' | 'trace' | 'reference' | 'source';
const required = ['question', 'response', 'reference'] as const;

/** Candidates in order of preference; the first that the data set has is taken. */
export const presetColumns: Record<Preset, Record<Role, readonly string[]>> = {
  's1k-1.1': {
    question: ['question'],
    response: ['deepseek_attempt'],
    trace: ['deepseek_thinking_trajectory'],
    reference: ['solution'],
    source: ['source_type'],
  },
  s1k: {
    question: ['question'],
    response: ['attempt'],
    trace: ['thinking_trajectories'],
    reference: ['solution'],
    source: ['source_type'],
  },
  generic: {
    question: ['question', 'prompt'],
    response: ['answer', 'response'],
    trace: ['thinking'],
    reference: ['answer', 'response'],
    source: ['source'],
  },
};

/** Throws DatasetRejected with every column that is wanted and missing, what is there, and which preset fits. */
export function resolveMapping(spec: MappingSpec, columns: readonly string[]): Mapping {
  const find = (role: Role): string | null => candidates(spec, role).find((column) => columns.includes(column)) ?? null;
  const wanted: Role[] = [...required];
  if (spec.includeTrace !== 'none') wanted.push('trace');
  const missing = wanted.filter((role) => find(role) === null);
  // A name that a person wrote is wanted, whatever its role.
  for (const role of ['trace', 'source'] as const) {
    if (spec[role] !== null && find(role) === null && !missing.includes(role)) missing.push(role);
  }
  const problems = missing.map((role) => missingColumn(spec, role, columns));
  if (spec.id !== null && !columns.includes(spec.id)) {
    problems.push(
      `The data set has no column ${spec.id}, which dataset.mapping.id names; expected one of ${columns.join(', ')}; correct it, or leave it null to number the rows.`,
    );
  }
  if (problems.length > 0) throw rejected('DatasetRejected', ...problems);
  return {
    question: find('question') as string,
    response: find('response') as string,
    trace: find('trace'),
    reference: find('reference') as string,
    source: find('source'),
    id: spec.id,
    includeTrace: spec.includeTrace,
    systemPrompt: spec.systemPrompt,
  };
}

/** The presets whose required columns are all there. */
export function fittingPresets(columns: readonly string[]): Preset[] {
  return mappingPresets.filter((preset) =>
    required.every((role) => presetColumns[preset][role].some((column) => columns.includes(column))),
  );
}

/** What to change when the response column holds no text in any row. */
export function onlyEmptyResponses(mapping: Mapping, rows: number, withText: readonly string[]): ReverieFailure {
  const others = withText.filter((column) => column !== mapping.question);
  const remedy = others.length > 0 ? `set dataset.mapping.response to one of ${others.join(', ')}` : 'use other data';
  return rejected(
    'DatasetRejected',
    `Column ${mapping.response}, mapped to the response, is empty in all ${rows} rows; expected text to learn; ${remedy}.`,
  );
}

function candidates(spec: MappingSpec, role: Role): readonly string[] {
  const explicit = spec[role];
  return explicit === null ? presetColumns[spec.preset][role] : [explicit];
}

function missingColumn(spec: MappingSpec, role: Role, columns: readonly string[]): string {
  const names = candidates(spec, role).join(' or ');
  const by = spec[role] === null ? `preset ${spec.preset} wants` : `dataset.mapping.${role} names`;
  const [fitting] = fittingPresets(columns).filter((preset) => preset !== spec.preset);
  const remedy = [
    ...(fitting && spec[role] === null ? [`use dataset.mapping.preset ${fitting}, which fits, or`] : []),
    `set dataset.mapping.${role} to a column`,
    ...(role === 'trace' && spec.trace === null ? ['or dataset.mapping.includeTrace to none'] : []),
  ].join(' ');
  return `The data set has no column ${names}, which ${by} for the ${role}; expected one of ${columns.join(', ')}; ${remedy}.`;
}
