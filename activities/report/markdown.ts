/** Renders the report as Markdown (GitHub's), with its figures as files beside it. */
import {
  type Answer,
  type Block,
  type Inline,
  inlines,
  isFollowable,
  type ReportDocument,
  shorten,
  type Text,
  visibleControls,
} from './document.ts';

/** Where the figures lie, relative to report.md. */
export const figurePath = (name: string): string => `figures/${name}.svg`;

export function renderMarkdown(document: ReportDocument): string {
  const blocks = document.blocks.map((block) => renderBlock(block, document.words));
  return `${[`# ${escaped(document.title)}`, renderText(document.subtitle), ...blocks].join('\n\n')}\n`;
}

function renderBlock(block: Block, words: ReportDocument['words']): string {
  switch (block.kind) {
    case 'heading':
      return `${'#'.repeat(block.level)} ${escaped(block.text)}`;
    case 'paragraph':
      return renderText(block.text);
    case 'summary':
      return [`**${escaped(block.label)}**`, renderText(block.headline), ...block.lines.map(renderText)]
        .map((line) => `> ${line}`)
        .join('\n>\n');
    case 'tiles':
      return table(
        block.items.map(({ label }) => label),
        [block.items.map(({ value }) => ({ kind: 'strong', text: value })), block.items.map(({ note }) => note ?? '')],
        block.items.map((_, index) => index),
      );
    case 'list':
      return block.items.map((item) => `- ${renderText(item)}`).join('\n');
    case 'table':
      return table(block.head, block.rows, block.numeric);
    case 'figure':
      return `![${escaped(block.description)}](${figurePath(block.name)})\n\n*${renderText(block.caption)}*`;
    case 'answers':
      return [
        `#### ${escaped(block.title)}`,
        `**${words.question}**`,
        fence(block.question, words),
        ...(block.reference === null ? [] : [`**${words.reference}**`, fence(block.reference, words)]),
        ...block.answers.flatMap((answer) => renderAnswer(answer, words)),
      ].join('\n\n');
    case 'listing':
      return fence(block.text, null, block.language);
    case 'checklist':
      return block.items
        .map(({ done, text, note }) => `- [${done ? 'x' : ' '}] **${escaped(text)}** — ${renderText(note)}`)
        .join('\n');
    case 'details':
      return [
        `<details>\n<summary>${escaped(block.summary)}</summary>`,
        ...block.blocks.map((inner) => renderBlock(inner, words)),
        '</details>',
      ].join('\n\n');
  }
}

function renderAnswer({ label, verdict, text, note }: Answer, words: ReportDocument['words']): string[] {
  const head = `**${escaped(label)}**${verdict ? ` · ${escaped(verdict.text)}` : ''}${note === null ? '' : ` · ${escaped(note)}`}`;
  return [head, fence(text, words)];
}

function table(head: readonly string[], rows: readonly Text[][], numeric: readonly number[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(head.map(escaped)),
    line(head.map((_, column) => (numeric.includes(column) ? '---:' : '---'))),
    ...rows.map((row) => line(row.map(renderText))),
  ].join('\n');
}

/** A fence longer than any run of backticks within, so that nothing in `content` can end it. */
function fence(content: string, words: ReportDocument['words'] | null, language = 'text'): string {
  const shown = visibleControls(words === null ? content : shorten(content, words.more));
  const longest = Math.max(2, ...(shown.match(/`+/g) ?? []).map(({ length }) => length));
  const marks = '`'.repeat(longest + 1);
  return `${marks}${language}\n${shown}\n${marks}`;
}

const renderText = (text: Text): string => inlines(text).map(renderInline).join('');

function renderInline(inline: Inline): string {
  if (typeof inline === 'string') return escaped(inline);
  switch (inline.kind) {
    case 'strong':
      return `**${escaped(inline.text)}**`;
    case 'code':
      return codeSpan(inline.text);
    case 'link':
      if (!isFollowable(inline.href)) return escaped(inline.text);
      return inline.text === inline.href
        ? `<${encodeURI(inline.href)}>`
        : `[${escaped(inline.text)}](<${encodeURI(inline.href)}>)`;
  }
}

/** Within a code span only the delimiter counts; in a table also the pipe, which GitHub lets be escaped. */
function codeSpan(content: string): string {
  const line = oneLine(content).replaceAll('|', '\\|');
  const longest = Math.max(0, ...(line.match(/`+/g) ?? []).map(({ length }) => length));
  const marks = '`'.repeat(longest + 1);
  return longest === 0 ? `${marks}${line}${marks}` : `${marks} ${line} ${marks}`;
}

/** Text as text: no mark-up, no HTML, no mathematics, no line ends. */
const escaped = (value: string): string =>
  oneLine(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/[\\`*_{}[\]#|~$!]/g, '\\$&');

const oneLine = (value: string): string => visibleControls(value).replaceAll(/\s*\n\s*/g, ' ');
