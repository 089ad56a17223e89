/** What every section of the report is made from. */
import type { Block, Text } from '../document.ts';
import type { ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import type { Plots } from '../plots/plots.ts';

export interface SectionInput {
  facts: ReportFacts;
  messages: Messages;
  plots: Plots;
}

export type Section = (input: SectionInput) => Block[];

export const heading = (level: 2 | 3, id: string, text: string): Block => ({ kind: 'heading', level, id, text });

export const paragraph = (text: Text): Block => ({ kind: 'paragraph', text });

export const quiet = (text: Text): Block => ({ kind: 'paragraph', text, quiet: true });

/** Two columns, a name and a value; rows whose value is null are left out. */
export function settings(head: [string, string], rows: readonly [string, Text | null][]): Block {
  const shown = rows.filter((row): row is [string, Text] => row[1] !== null);
  return { kind: 'table', head, rows: shown.map(([name, value]) => [name, value]), numeric: [] };
}

/** The last part of a source: Dream-v0-Base-7B of hf://Dream-org/Dream-v0-Base-7B. */
export const shortName = (source: string): string => source.replace(/\/+$/, '').split('/').at(-1) || source;
