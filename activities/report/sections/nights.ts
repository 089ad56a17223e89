/** How this run stands among the last ones of its family: a nightly schedule's history at a glance. */
import type { Block, Text } from '../document.ts';
import { code, link } from '../document.ts';
import { type Night, nightOf } from '../nights.ts';
import { percent, short, significant } from '../numbers.ts';
import { heading, quiet, type Section, type SectionInput } from './section.ts';

export const nightsSection: Section = (input) => {
  const { facts, messages } = input;
  const words = messages.nights;
  if (facts.nights.length === 0) return [];
  return [heading(3, 'nights', words.heading), quiet(words.intro), table(input)];
};

/** Artifacts of one stage lie side by side. */
export const toReport = ({ report, workflowId }: Night) => link(`../${report}/report.html`, workflowId);

function table({ facts, messages: { nights: words } }: SectionInput): Block {
  const row = (night: Night, report: Text): Text[] => {
    const { startedAt, state, dataset, accuracy, loss, gpuHours, goodput } = night;
    const { base, tuned, low, high } = accuracy;
    return [
      startedAt.slice(0, 16).replace('T', ' '),
      words.states[state],
      code(short(dataset.revision)),
      percent(base),
      percent(tuned),
      low === null || high === null ? '—' : `${percent(low)} – ${percent(high)}`,
      significant(loss),
      String(Number(gpuHours.toFixed(2))),
      percent(goodput),
      report,
    ];
  };
  return {
    kind: 'table',
    head: Object.values(words.headers),
    // Its own key is of no use to it.
    rows: [...facts.nights.map((night) => row(night, toReport(night))), row(nightOf(facts, ''), words.thisOne)],
    numeric: [3, 4, 5, 6, 7, 8],
  };
}
