/** The histogram of row lengths, with the thresholds that the filter counts and the limit that it sets. */
import type { ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { grouped } from '../numbers.ts';
import { ink } from '../palette.ts';
import { type Chart, ticks } from './draw.ts';

export const lengthsChart =
  ({ lengths, spec: { filter } }: Pick<ReportFacts, 'lengths' | 'spec'>, words: Messages['plots']): Chart =>
  (width) => {
    const { maxTokens, thresholds } = filter;
    const end = Math.max(...lengths.map(({ to }) => to));
    const lines = [...new Set([...thresholds, maxTokens])].filter((tokens) => tokens <= end).sort((a, b) => a - b);
    const data = { values: lines.map((tokens) => ({ tokens })) };
    // The limit's label stands to the right of its line and the others' to the left, so that two near lines can be read.
    const labels = (values: object[], align: 'left' | 'right') => ({
      data: { values },
      mark: { type: 'text', align, baseline: 'bottom', dy: -4, color: ink.accent, fontSize: 12 },
      encoding: { x: { field: 'tokens', ...x }, y: { value: 0 }, text: { field: 'label' } },
    });
    const x = {
      type: 'quantitative',
      title: words.tokens,
      scale: { nice: false, domain: [0, end] },
      axis: { grid: false, format: ',d', tickCount: ticks(width, 10, 4) },
    };
    return {
      width,
      height: 180,
      layer: [
        {
          data: { values: lengths.map(({ from, to, rows }) => ({ from: from - 1, to, rows, over: from > maxTokens })) },
          mark: { type: 'bar', binSpacing: 1 },
          encoding: {
            x: { field: 'from', ...x, bin: { binned: true } },
            x2: { field: 'to' },
            y: { field: 'rows', type: 'quantitative', title: words.rows, axis: { tickCount: 4, format: ',d' } },
            color: {
              field: 'over',
              type: 'nominal',
              legend: null,
              scale: { domain: [false, true], range: [ink.tuned, ink.faint] },
            },
          },
        },
        {
          data,
          mark: { type: 'rule', strokeDash: [4, 3], color: ink.accent },
          encoding: { x: { field: 'tokens', ...x } },
        },
        labels(
          lines.filter((tokens) => tokens !== maxTokens).map((tokens) => ({ tokens, label: grouped(tokens) })),
          'right',
        ),
        labels(
          lines
            .filter((tokens) => tokens === maxTokens)
            .map((tokens) => ({ tokens, label: words.limit(grouped(tokens)) })),
          'left',
        ),
      ],
    };
  };
