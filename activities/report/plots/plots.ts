/** The figures of a report. */
import type { FigureSvg } from '../document.ts';
import type { ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { draw } from './draw.ts';
import { accuracyChart, orderChart } from './evaluation.ts';
import { lengthsChart } from './lengths.ts';
import { curveChart, goodputChart, learningRateChart } from './training.ts';

export interface Plots {
  curve: FigureSvg;
  learningRate: FigureSvg;
  /** Null where no attempt has left an account. */
  goodput: FigureSvg | null;
  /** Null where there is no histogram. */
  lengths: FigureSvg | null;
  accuracy: FigureSvg;
  order: FigureSvg;
}

export async function drawPlots(facts: ReportFacts, words: Messages['plots']): Promise<Plots> {
  return {
    curve: await draw(curveChart(facts.curve, words)),
    learningRate: await draw(learningRateChart(facts.curve, words)),
    goodput: facts.goodput && (await draw(goodputChart(facts.goodput, words))),
    lengths: facts.lengths.length > 0 ? await draw(lengthsChart(facts, words)) : null,
    accuracy: await draw(accuracyChart(facts, words)),
    order: await draw(orderChart(facts.revealOrder, words)),
  };
}
