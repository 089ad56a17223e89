/** Section 1: the goal, the data, and what was set. */
import type { FilterSummary } from '../../../contracts/stages.ts';
import { type Block, code } from '../document.ts';
import type { Messages } from '../messages/catalogue.ts';
import { grouped, rate, significant } from '../numbers.ts';
import { heading, paragraph, type Section, type SectionInput, settings, shortName } from './section.ts';

export const overviewSection: Section = ({ facts, messages, plots }) => {
  const { sources, summaries } = facts;
  const { overview, words } = messages;
  const { convert } = summaries;
  return [
    heading(2, 'overview', overview.heading),
    paragraph(overview.goal(code(shortName(sources.model.source)), code(shortName(sources.dataset.source)))),
    paragraph(overview.data(grouped(convert.rows), grouped(convert.train), grouped(convert.validation))),
    settings([words.setting, words.value], settingRows({ facts, messages, plots })),
    heading(3, 'lengths', overview.lengths),
    ...(plots.lengths
      ? [
          {
            kind: 'figure' as const,
            name: 'lengths',
            svg: plots.lengths,
            caption: overview.lengthsCaption(overLong(summaries.filter, messages)),
            description: messages.plots.descriptions.lengths,
          },
        ]
      : [paragraph(overview.lengthsCaption(overLong(summaries.filter, messages)))]),
    describeTable(summaries.filter, overview),
  ];
};

function settingRows({ facts: { spec, sources, summaries }, messages: { overview, words } }: SectionInput) {
  const { train, dataset, eval: evaluation, filter } = spec;
  const { optimizer, objective } = train;
  const { sampler } = evaluation;
  const names = overview.settings;
  const share = `${Number((100 - 100 * dataset.validationFraction).toFixed(2))} / ${Number((100 * dataset.validationFraction).toFixed(2))}`;
  return [
    [names.model, code(sources.model.source)],
    [names.dataset, code(sources.dataset.source)],
    [names.split, `${share}, ${dataset.splitSeed}`],
    [names.response, code(summaries.convert.mapping.response)],
    [names.trace, overview.trace[dataset.mapping.includeTrace]],
    [names.systemPrompt, dataset.mapping.systemPrompt ?? words.none],
    [names.maxTokens, grouped(filter.maxTokens)],
    [names.epochs, grouped(train.epochs)],
    [
      names.learningRate,
      overview.schedule(rate(optimizer.learningRate), optimizer.schedule, String(optimizer.warmupRatio)),
    ],
    [names.globalBatch, grouped(train.globalBatchSize)],
    [names.objective, [code(objective.weighting), ', ', code(objective.cutoff)]],
    [
      names.sampler,
      overview.sampler(
        sampler.algorithm,
        grouped(sampler.maxNewTokens),
        grouped(sampler.steps),
        sampler.temperature,
        overview.samplerMode[sampler.mode],
      ),
    ],
  ] as const satisfies Parameters<typeof settings>[1];
}

const overLong = ({ over }: FilterSummary, { overview }: Messages): string =>
  over.map(({ threshold, rows }) => overview.over(grouped(rows), grouped(threshold))).join(' ');

function describeTable({ lengths }: FilterSummary, { describe }: Messages['overview']): Block {
  const columns = Object.keys(describe) as (keyof typeof describe)[];
  return {
    kind: 'table',
    head: columns.map((column) => describe[column]),
    rows: [columns.map((column) => significant(lengths[column]))],
    numeric: columns.map((_, index) => index),
  };
}
