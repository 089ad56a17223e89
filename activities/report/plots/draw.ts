/** Draws a Vega-Lite specification as SVG, without a DOM and with the same bytes every time. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { FigureSvg } from '../document.ts';
import { FONT, ink } from '../palette.ts';

/** Pixels of the plotting area; axes and their titles come on top. */
const WIDE = 690;
/** What a phone shows without shrinking the type. */
const NARROW = 284;

/** Roomy enough for as many axis labels as a page has, or a phone. */
export const ticks = (width: number, wide: number, narrow: number): number => (width >= WIDE ? wide : narrow);

/** A specification is written as JSON, as the documentation has it: Vega-Lite's types are too deep for shared parts. */
export type Chart = (width: number) => object;

export async function draw(chart: Chart): Promise<FigureSvg> {
  return { wide: await toSvg(chart(WIDE)), narrow: await toSvg(chart(NARROW)) };
}

async function toSvg(spec: object): Promise<string> {
  const { spec: compiled } = compile({ ...spec, config: theme } as TopLevelSpec);
  const view = new View(parse(compiled), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

const theme = {
  aria: false,
  background: ink.paper,
  font: FONT,
  padding: { left: 0, top: 5, right: 5, bottom: 5 },
  view: { stroke: null },
  axis: {
    domain: false,
    ticks: false,
    grid: true,
    gridColor: ink.rule,
    labelColor: ink.quiet,
    titleColor: ink.quiet,
    titleFontWeight: 'normal',
    labelFontSize: 12,
    titleFontSize: 12,
    labelPadding: 6,
    titlePadding: 8,
  },
  legend: {
    orient: 'top',
    title: null,
    labelColor: ink.text,
    labelFontSize: 12,
    symbolType: 'stroke',
    symbolSize: 240,
    symbolStrokeWidth: 3,
    offset: 8,
    columnPadding: 16,
  },
};
