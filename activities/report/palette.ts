/** The report's colours, by what they mean, on light and on dark paper. Charts are drawn in the light ones. */

export const ink = {
  paper: '#ffffff',
  text: '#1c2230',
  quiet: '#667085',
  rule: '#e4e7ee',
  panel: '#f6f7fa',
  base: '#8a94a6',
  tuned: '#3454d1',
  faint: '#b9c4ee',
  accent: '#c2570c',
  good: '#1a7f4b',
  bad: '#c0322b',
} as const;

export type Ink = keyof typeof ink;

export const darkInk: Record<Ink, string> = {
  paper: '#14171e',
  text: '#e7eaf0',
  quiet: '#9aa4b5',
  rule: '#2b303b',
  panel: '#1c2029',
  base: '#8f9aae',
  tuned: '#8ba4ff',
  faint: '#46548c',
  accent: '#f2a15c',
  good: '#5ec98f',
  bad: '#f08079',
};

/** Generic families, with Chinese ones by the names that systems know. */
export const FONT =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif';

export const inks = Object.keys(ink) as Ink[];

/** An SVG whose colours follow the page's light or dark scheme. */
export const themed = (svg: string): string =>
  inks.reduce((drawing, name) => drawing.replaceAll(ink[name], `var(--${name})`), svg);
