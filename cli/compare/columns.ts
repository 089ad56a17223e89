/** Two texts side by side, by the width that a terminal gives each character. */
import { stripVTControlCharacters, styleText } from 'node:util';
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';

export interface Column {
  title: string;
  /** Beside the title: how far it is. */
  state: string;
  text: string;
}

const GAP = ' │ ';
/** Below this a column holds no sentence; the terminal then has to wrap. */
const LEAST_WIDTH = 16;

export function sideBySide(columns: readonly [Column, Column], terminalWidth: number, colour: boolean): string {
  const width = Math.max(LEAST_WIDTH, Math.floor((terminalWidth - GAP.length) / 2));
  const [left, right] = columns.map(({ text }) => wrapped(text, width)) as [string[], string[]];
  const bold = (text: string): string => (colour ? styleText('bold', text) : text);
  const dim = (text: string): string => (colour ? styleText('dim', text) : text);
  const titles = columns.map(({ title, state }) => `${bold(title)} ${dim(state)}`) as [string, string];
  const line = (a: string, b: string): string => `${pad(a, width)}${dim(GAP)}${b}`.trimEnd();
  const height = Math.max(left.length, right.length);
  return [line(...titles), ...Array.from({ length: height }, (_, row) => line(left[row] ?? '', right[row] ?? ''))].join(
    '\n',
  );
}

/** What a model writes is text and never a command to the terminal. */
export const printable = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll('\r\n', '\n')
    .replaceAll('\t', '    ')
    .replaceAll(/[^\P{Cc}\n]/gu, '');

/** Spaces that indent a line stay; the one at which a line is broken goes. */
const wrapped = (text: string, width: number): string[] =>
  printable(text)
    .split('\n')
    .flatMap((line) =>
      wrapAnsi(line, width, { hard: true, trim: false })
        .split('\n')
        .map((row, index) => (index === 0 ? row : row.replace(/^ /, ''))),
    );

const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - stringWidth(text)));
