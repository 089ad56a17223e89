/**
 * Writes the reference that people who run this look into, from the code that it describes:
 *
 *     node --import tsx cli/write-reference.ts
 */
import { writeFileSync } from 'node:fs';
import { z } from 'zod';
import { trainingMetrics } from '../activities/train/metrics.ts';
import { runSpecSchema } from '../contracts/run-spec.ts';
import { searchAttributeMeanings, searchAttributes } from '../contracts/search-attributes.ts';
import { exitCodes } from '../workers/exit-code.ts';

export const referenceFile = new URL('../infra/docs/reference.md', import.meta.url);

export function reference(): string {
  const metrics = Object.entries(trainingMetrics).map(([name, { kind, says }]) => [
    code(kind === 'counter' ? `${name}_total` : name),
    kind,
    says,
  ]);
  const attributes = Object.entries(searchAttributes).map(([name, type]) => [
    code(name),
    type,
    searchAttributeMeanings[name as keyof typeof searchAttributes],
  ]);
  return `${[
    '# Reference',
    'Made from the code by `node --import tsx cli/write-reference.ts`; a test sees that it is fresh.',
    '## Exit codes',
    table(
      ['code', 'meaning'],
      Object.entries(exitCodes).map(([status, says]) => [status, says]),
    ),
    '## Search attributes',
    table(['name', 'type', 'meaning'], attributes),
    '## Metrics',
    "Served under `/metrics` at `REVERIE_METRICS_ADDRESS`, beside the SDK's own (`temporal_*`); the wait in the queue is its `temporal_activity_schedule_to_start_latency_seconds`. Useful queries: steps per second `rate(reverie_train_steps_total[5m])`, age of the newest checkpoint `time() - reverie_train_checkpoint_timestamp_seconds`.",
    table(['name', 'kind', 'meaning'], metrics),
    '## Run spec',
    'Every field, with its default. `resume` may change those of `train`, `eval` and `policy`.',
    ...Object.entries(runSpecSchema.shape).map(([name, part]) => section(name, part)),
  ].join('\n\n')}\n`;
}

function section(name: string, part: z.ZodType): string {
  const rows = fields(part, []).map(([path, initial, says]) => [code(`${name}.${path}`), code(initial), says]);
  return `### ${name}\n\n${part.description ?? ''}\n\n${table(['field', 'default', 'meaning'], rows)}`;
}

function fields(schema: z.ZodType, path: string[]): [string, string, string][] {
  const given =
    schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ? (schema.unwrap() as z.ZodType) : schema;
  if (given instanceof z.ZodObject) {
    return Object.entries(given.shape as Record<string, z.ZodType>).flatMap(([name, field]) =>
      fields(field, [...path, name]),
    );
  }
  return [[path.join('.'), JSON.stringify(schema.parse(undefined)), meaning(schema, given)]];
}

/** With what may be chosen, where that is a list. */
function meaning(schema: z.ZodType, given: z.ZodType): string {
  const choices =
    given instanceof z.ZodEnum ? ` One of ${given.options.map((option) => code(String(option))).join(', ')}.` : '';
  return `${schema.description ?? ''}${choices}`;
}

const code = (text: string): string => `\`${text}\``;

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

if (import.meta.filename === process.argv[1]) writeFileSync(referenceFile, reference());
