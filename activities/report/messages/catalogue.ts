/** The report's texts by language: a text that one language lacks is a compile error. */
import type { RunSpec } from '../../../contracts/run-spec.ts';
import { en } from './en.ts';
import { zh } from './zh.ts';

export type Messages = typeof en;

const catalogue: Record<RunSpec['report']['language'], Messages> = { en, zh };

export const messagesIn = (language: RunSpec['report']['language']): Messages => catalogue[language];
