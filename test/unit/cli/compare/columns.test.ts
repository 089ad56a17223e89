import assert from 'node:assert/strict';
import { test } from 'node:test';
import stringWidth from 'string-width';
import { printable, sideBySide } from '../../../../cli/compare/columns.ts';

const column = (title: string, text: string) => ({ title, state: 'step 1 of 2', text });
const lines = (left: string, right: string, width: number): string[] =>
  sideBySide([column('base', left), column('tuned', right)], width, false).split('\n');

test('sets two texts side by side under their titles', () => {
  assert.deepEqual(lines('one two three four five', 'six', 39), [
    'base step 1 of 2   │ tuned step 1 of 2',
    'one two three four │ six',
    'five               │',
  ]);
});

test('keeps the middle straight between characters of double width', () => {
  const rows = lines('什么是扩散模型？它从噪声开始一步一步地恢复。', '░░░░░░░░░░░░░░░░░░░░░░░░', 43);
  assert.ok(rows.length > 2, 'the text takes more than one line');
  const widths = rows.map((row) => stringWidth(row.split('│')[0] ?? ''));
  assert.deepEqual(new Set(widths), new Set([21]));
  assert.ok(rows.every((row) => stringWidth(row) <= 43));
});

test('breaks a word that is longer than its column', () => {
  assert.equal(lines('x'.repeat(30), '', 43)[2], `${'x'.repeat(10)}${' '.repeat(10)} │`);
});

test('keeps columns readable on a terminal that is too narrow', () => {
  assert.equal(lines('abcdefghijklmnop', '', 5)[1], 'abcdefghijklmnop │');
});

test('keeps the indentation of code', () => {
  assert.deepEqual(lines('def f(n):\n    return n', '', 43).slice(1), [
    `def f(n):${' '.repeat(11)} │`,
    `    return n${' '.repeat(8)} │`,
  ]);
});

test('gives the terminal no commands that a model wrote', () => {
  assert.equal(printable('\u0007a\u001b[2Jbc\rd\u009b31me\r\nf\tg\u0000'), 'abcde\nf    g');
});
