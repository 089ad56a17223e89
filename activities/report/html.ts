/** Renders the report as one HTML page that loads nothing and runs nothing, on paper, a desk or a phone. */
import {
  type Answer,
  type Block,
  type FigureSvg,
  type Inline,
  inlines,
  isFollowable,
  type ReportDocument,
  shorten,
  type Text,
  visibleControls,
} from './document.ts';
import { stylesheet } from './html-style.ts';
import { themed } from './palette.ts';

export function renderHtml(document: ReportDocument): string {
  const { words, blocks } = document;
  const language = document.language === 'zh' ? 'zh-CN' : 'en';
  const chapters = blocks.flatMap((block) => (block.kind === 'heading' && block.level === 2 ? [block] : []));
  const contents = chapters.map(({ id, text }) => `<li><a href="#${id}">${escaped(text)}</a></li>`).join('');
  const firstChapter = blocks.findIndex(({ kind }) => kind === 'heading');
  const render = (part: Block[]): string => part.map((block) => renderBlock(block, words)).join('\n');
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(document.title)}</title>
<style>${stylesheet}</style>
</head>
<body>
<main>
<header>
<h1>${escaped(document.title)}</h1>
<p class="quiet">${renderText(document.subtitle)}</p>
</header>
${render(blocks.slice(0, firstChapter))}
<nav aria-label="${escaped(words.contents)}"><ol>${contents}</ol></nav>
${render(blocks.slice(firstChapter))}
</main>
</body>
</html>
`;
}

function renderBlock(block: Block, words: ReportDocument['words']): string {
  switch (block.kind) {
    case 'heading':
      return `<h${block.level} id="${block.id}">${escaped(block.text)}</h${block.level}>`;
    case 'paragraph':
      return `<p${block.quiet ? ' class="quiet"' : ''}>${renderText(block.text)}</p>`;
    case 'summary':
      return `<section class="summary ${block.tone}"><p class="label">${escaped(block.label)}</p><p class="headline">${renderText(block.headline)}</p>${block.lines.map((line) => `<p>${renderText(line)}</p>`).join('')}</section>`;
    case 'tiles':
      return `<dl class="tiles">${block.items
        .map(
          ({ label, value, note }) =>
            `<div><dt>${escaped(label)}</dt><dd class="value">${prose(value)}</dd>${note === null ? '' : `<dd class="note">${prose(note)}</dd>`}</div>`,
        )
        .join('')}</dl>`;
    case 'list':
      return `<ul>${block.items.map((item) => `<li>${renderText(item)}</li>`).join('')}</ul>`;
    case 'table':
      return renderTable(block);
    case 'figure':
      return `<figure>${renderFigure(block.name, block.svg, block.description)}<figcaption>${renderText(block.caption)}</figcaption></figure>`;
    case 'answers':
      return `<article class="case"><h4>${escaped(block.title)}</h4>${quoted(words.question, block.question, words)}${block.reference === null ? '' : quoted(words.reference, block.reference, words)}<div class="pair">${block.answers.map((answer) => renderAnswer(answer, words)).join('')}</div></article>`;
    case 'listing':
      return `<pre class="listing" tabindex="0">${escaped(block.text)}</pre>`;
    case 'checklist':
      return `<ul class="checklist">${block.items
        .map(
          ({ done, text, note }) =>
            `<li class="${done ? 'done' : 'open'}"><span class="box" aria-hidden="true">${done ? '✓' : ''}</span><div><strong>${escaped(text)}</strong><br><span class="quiet">${renderText(note)}</span></div></li>`,
        )
        .join('')}</ul>`;
    case 'details':
      return `<details><summary>${escaped(block.summary)}</summary>${block.blocks.map((inner) => renderBlock(inner, words)).join('')}</details>`;
  }
}

function renderTable({ head, rows, numeric }: Extract<Block, { kind: 'table' }>): string {
  const attributes = (column: number): string => (numeric.includes(column) ? ' class="number"' : '');
  const cells = (tag: 'th' | 'td', row: readonly Text[]): string =>
    row.map((cell, column) => `<${tag}${attributes(column)}>${renderText(cell)}</${tag}>`).join('');
  return `<div class="scroll" tabindex="0"><table><thead><tr>${cells('th', head)}</tr></thead><tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('')}</tbody></table></div>`;
}

function renderFigure(name: string, { wide, narrow }: FigureSvg, description: string): string {
  const drawing = (svg: string, size: 'wide' | 'narrow'): string =>
    `<div class="${size}" role="img" aria-label="${escaped(description)}">${inlineSvg(svg, `${name}-${size}`)}</div>`;
  return drawing(wide, 'wide') + drawing(narrow, 'narrow');
}

/** In the page's colours, and with ids of its own: those of several drawings would collide. */
const inlineSvg = (svg: string, name: string): string =>
  themed(svg)
    .replaceAll(/\bid="([^"]+)"/g, `id="${name}-$1"`)
    .replaceAll(/url\(#([^)]+)\)/g, `url(#${name}-$1)`);

const quoted = (label: string, content: string, words: ReportDocument['words']): string =>
  `<div class="quoted"><span>${escaped(label)}</span><p dir="auto" tabindex="0">${escaped(shorten(content, words.more))}</p></div>`;

function renderAnswer({ label, verdict, text, note }: Answer, words: ReportDocument['words']): string {
  const mark = { good: '✓', bad: '✗', neutral: '–' };
  const badge = verdict
    ? `<span class="badge ${verdict.tone}">${mark[verdict.tone]} ${escaped(verdict.text)}</span>`
    : '';
  const found = note === null ? '' : `<p class="quiet found">${escaped(note)}</p>`;
  return `<section><h5>${escaped(label)} ${badge}</h5><pre dir="auto" tabindex="0">${escaped(shorten(text, words.more))}</pre>${found}</section>`;
}

const renderText = (text: Text): string => inlines(text).map(renderInline).join('');

function renderInline(inline: Inline): string {
  if (typeof inline === 'string') return prose(inline);
  switch (inline.kind) {
    case 'strong':
      return `<strong>${prose(inline.text)}</strong>`;
    case 'code':
      return `<code>${escaped(inline.text)}</code>`;
    case 'link':
      return isFollowable(inline.href)
        ? `<a href="${escaped(inline.href)}">${escaped(inline.text)}</a>`
        : escaped(inline.text);
  }
}

/** A per cent sign stays on its number's line. */
const prose = (value: string): string => escaped(value).replaceAll(/(\d) %/g, '$1&nbsp;%');

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escaped = (value: string): string =>
  visibleControls(value).replaceAll(/[&<>"']/g, (character) => entities[character] ?? character);
