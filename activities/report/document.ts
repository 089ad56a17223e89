/** The report as a document: blocks that Markdown and HTML both render, so that no text is written twice. */

export type Inline =
  | string
  | { readonly kind: 'code' | 'strong'; readonly text: string }
  | { readonly kind: 'link'; readonly text: string; readonly href: string };

/** Plain strings are shown as they are: nothing in them is markup. */
export type Text = Inline | readonly Inline[];

export type Tone = 'good' | 'neutral' | 'bad';

export interface Answer {
  label: string;
  verdict: { tone: Tone; text: string } | null;
  /** What a model wrote: untrusted. */
  text: string;
  note: string | null;
}

/** A chart for a page and, with fewer pixels and the same type size, for a phone. */
export interface FigureSvg {
  wide: string;
  narrow: string;
}

export type Block =
  | { kind: 'heading'; level: 2 | 3; id: string; text: string }
  | { kind: 'paragraph'; text: Text; quiet?: boolean }
  | { kind: 'summary'; tone: Tone; label: string; headline: Text; lines: Text[] }
  | { kind: 'tiles'; items: { label: string; value: string; note: string | null }[] }
  | { kind: 'list'; items: Text[] }
  | { kind: 'table'; head: string[]; rows: Text[][]; numeric: readonly number[] }
  | { kind: 'figure'; name: string; svg: FigureSvg; caption: Text; description: string }
  | { kind: 'answers'; title: string; question: string; reference: string | null; answers: Answer[] }
  | { kind: 'listing'; language: string; text: string }
  | { kind: 'checklist'; items: { done: boolean; text: string; note: Text }[] }
  | { kind: 'details'; summary: string; blocks: Block[] };

export interface ReportDocument {
  language: 'en' | 'zh';
  title: string;
  subtitle: Text;
  /** Words that the renderers themselves need. */
  words: { contents: string; question: string; reference: string; more: (characters: number) => string };
  blocks: Block[];
}

/** A text from a template: `` text`made of ${code(value)}` ``. Values are never read as markup. */
export function text(parts: TemplateStringsArray, ...values: (Inline | number)[]): Inline[] {
  return parts.flatMap((part, index): Inline[] => {
    const value = values[index];
    return value === undefined ? [part] : [part, typeof value === 'number' ? String(value) : value];
  });
}

export const code = (value: string): Inline => ({ kind: 'code', text: value });
export const strong = (value: string): Inline => ({ kind: 'strong', text: value });
export const link = (href: string, value: string = href): Inline => ({ kind: 'link', href, text: value });

/** Addresses on the web, and another report of the same store: nothing else becomes a link. */
export const isFollowable = (href: string): boolean => /^(https?:\/\/|\.\.\/[0-9a-f]{64}\/report\.html$)/.test(href);

export const inlines = (value: Text): readonly Inline[] =>
  typeof value === 'string' || 'kind' in value ? [value] : value;

/** Answers longer than this are cut, which is said; the whole is in the evaluation's predictions. */
export const SHOWN_CHARACTERS = 3000;

export function shorten(value: string, more: ReportDocument['words']['more']): string {
  const characters = [...value];
  const rest = characters.length - SHOWN_CHARACTERS;
  return rest <= 0 ? value : `${characters.slice(0, SHOWN_CHARACTERS).join('')}\n${more(rest)}`;
}

/** Control characters, which neither HTML nor Markdown can carry, as their pictures; line ends and tabs stay. */
export function visibleControls(value: string): string {
  return (
    value
      .replaceAll('\r\n', '\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      .replaceAll(/[\u0000-\u0008\u000b-\u001f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
      .replaceAll('\u007f', '\u2421')
      .replaceAll(/[\u0080-\u009f]/g, '\ufffd')
  );
}
