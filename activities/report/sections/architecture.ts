/** Section 5: how a diffusion model writes, and how this one was seen to. */

import type { RevealOrder } from '../../eval/reveal-order.ts';
import { type Block, code, type Text } from '../document.ts';
import { percent, signed } from '../numbers.ts';
import { heading, paragraph, quiet, type Section, type SectionInput } from './section.ts';

export const architectureSection: Section = (input) => {
  const { facts, messages, plots } = input;
  const { architecture } = messages;
  const { weighting } = facts.spec.train.objective;
  const order = facts.revealOrder.tuned.leftToRight;
  return [
    heading(2, 'architecture', architecture.heading),
    paragraph(architecture.autoregression),
    paragraph(architecture.diffusion),
    paragraph(architecture.training(weighting, architecture.weighting[weighting])),
    heading(3, 'strategies', architecture.strategies),
    strategyTable(input),
    heading(3, 'reveal-order', architecture.measured),
    orderTable(input),
    {
      kind: 'figure',
      name: 'reveal-order',
      svg: plots.order,
      caption: architecture.orderCaption,
      description: messages.plots.descriptions.order,
    },
    ...(order === null ? [] : [paragraph(architecture.order(order))]),
    quiet(architecture.orderLimit),
  ];
};

function strategyTable({ facts, messages: { architecture } }: SectionInput): Block {
  const { strategy, strategyHeaders: head } = architecture;
  const used = facts.spec.eval.sampler.algorithm;
  return {
    kind: 'table',
    head: [head.name, head.rule, head.used],
    rows: (Object.keys(strategy) as (keyof typeof strategy)[]).map((name): Text[] => [
      code(name),
      strategy[name],
      name === used ? '✓' : '',
    ]),
    numeric: [],
  };
}

function orderTable({ facts: { revealOrder }, messages: { architecture, words } }: SectionInput): Block {
  const { orderHeaders: names } = architecture;
  const row = (name: string, show: (order: RevealOrder) => string): Text[] => [
    name,
    show(revealOrder.base),
    show(revealOrder.tuned),
  ];
  const decimals = (value: number | null, digits: number): string => (value === null ? '—' : value.toFixed(digits));
  return {
    kind: 'table',
    head: [names.what, words.base, words.tuned],
    rows: [
      row(names.order, ({ leftToRight }) => (leftToRight === null ? '—' : signed(leftToRight, 2))),
      row(names.tokens, ({ tokensPerStep }) => decimals(tokensPerStep, 2)),
      row(names.length, ({ newTokensMean }) => decimals(newTokensMean, 1)),
      row(names.ended, ({ endedShare }) => percent(endedShare)),
    ],
    numeric: [1, 2],
  };
}
