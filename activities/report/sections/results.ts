/** Section 3: accuracies, the paired difference, and answers side by side. */
import { pairOutcomes } from '../../eval/compare.ts';
import type { Answer, Block, Tone } from '../document.ts';
import type { AnswerFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { grouped, percent, points, pValue } from '../numbers.ts';
import { heading, paragraph, quiet, type Section, type SectionInput } from './section.ts';

/** Below this share of gradable answers the report warns of what it cannot see. */
const LOW_COVERAGE = 0.9;

export const resultsSection: Section = (input) => {
  const { facts, messages } = input;
  const { results, summary, plots: words } = messages;
  const { base, tuned } = facts.accuracy;
  const { difference, verdict } = facts;
  const lowest = Math.min(base.coverage ?? 0, tuned.coverage ?? 0);
  return [
    heading(2, 'results', results.heading),
    accuracyTable(input),
    paragraph(summary.meaning[verdict](grouped(difference?.questions ?? 0))),
    ...(difference
      ? [
          paragraph(
            results.paired(
              points(difference.gain),
              points(difference.interval.low),
              points(difference.interval.high),
              pValue(difference.pValue),
            ),
          ),
        ]
      : []),
    {
      kind: 'figure',
      name: 'accuracy',
      svg: input.plots.accuracy,
      caption: results.figureCaption,
      description: words.descriptions.accuracy(percent(base.accuracy), percent(tuned.accuracy)),
    },
    ...(lowest < LOW_COVERAGE ? [paragraph(results.lowCoverage(percent(base.coverage), percent(tuned.coverage)))] : []),
    quiet(results.coverage),
    ...agreement(input),
    ...outcomeTable(input),
    ...cases(input),
    ...qualitative(input),
  ];
};

function accuracyTable({ facts: { accuracy }, messages: { results, words } }: SectionInput): Block {
  const { headers } = results;
  return {
    kind: 'table',
    head: [
      headers.model,
      headers.accuracy,
      headers.interval,
      headers.correct,
      headers.incorrect,
      headers.ungradable,
      headers.coverage,
    ],
    rows: (['base', 'tuned'] as const).map((which) => {
      const { accuracy: rate, interval, correct, incorrect, ungradable, coverage } = accuracy[which];
      return [
        words[which],
        percent(rate),
        interval ? `${percent(interval.low)} – ${percent(interval.high)}` : '—',
        grouped(correct),
        grouped(incorrect),
        grouped(ungradable),
        percent(coverage),
      ];
    }),
    numeric: [1, 2, 3, 4, 5, 6],
  };
}

/** Nothing where the exact sampler was used, which is what the original does. */
function agreement({ facts: { accuracy }, messages: { results, words } }: SectionInput): Block[] {
  return (['base', 'tuned'] as const).flatMap((which) => {
    const told = accuracy[which].agreement;
    if (told === undefined) return [];
    const [samples, sameVerdict, sameText, cached, exact] = [
      told.samples,
      told.sameVerdict,
      told.sameText,
      told.correct.cached,
      told.correct.exact,
    ].map(grouped) as [string, string, string, string, string];
    return [paragraph(results.agreement(words[which], samples, sameVerdict, sameText, cached, exact))];
  });
}

function outcomeTable({ facts: { outcomes }, messages: { results } }: SectionInput): Block[] {
  return [
    heading(3, 'outcomes', results.outcomes),
    {
      kind: 'table',
      head: [results.correctWas, results.questions],
      rows: pairOutcomes.map((kind) => [results.outcome[kind], grouped(outcomes[kind])]),
      numeric: [1],
    },
  ];
}

function cases({ facts, messages: { results, words } }: SectionInput): Block[] {
  return [
    heading(3, 'cases', results.cases),
    quiet(facts.cases.length === 0 ? results.noCases : results.casesNote),
    ...facts.cases.map(
      ({ id, question, reference, base, tuned }): Block => ({
        kind: 'answers',
        title: results.caseTitle(id),
        question,
        reference,
        answers: [toAnswer(words.base, base, results), toAnswer(words.tuned, tuned, results)],
      }),
    ),
  ];
}

const tones: Record<AnswerFacts['verdict'], Tone> = { correct: 'good', incorrect: 'bad', ungradable: 'neutral' };

const toAnswer = (label: string, { text, verdict, extracted }: AnswerFacts, results: Messages['results']): Answer => ({
  label,
  verdict: { tone: tones[verdict], text: results.verdict[verdict] },
  text: text.trim() === '' ? results.empty : text,
  note: extracted === null ? results.nothingFound : results.extracted(extracted),
});

function qualitative({ facts, messages: { results, words } }: SectionInput): Block[] {
  if (facts.qualitative.length === 0) return [];
  const answer = (label: string, text: string | null): Answer[] =>
    text === null ? [] : [{ label, verdict: null, text: text.trim() === '' ? results.empty : text, note: null }];
  return [
    heading(3, 'qualitative', results.qualitative),
    ...facts.qualitative.map(
      ({ prompt, base, tuned }, index): Block => ({
        kind: 'answers',
        title: results.qualitativeTitle(index + 1),
        question: prompt,
        reference: null,
        answers: [...answer(words.base, base), ...answer(words.tuned, tuned)],
      }),
    ),
  ];
}
