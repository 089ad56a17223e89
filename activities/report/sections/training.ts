/** Section 2: where, how long and how well it learned. */
import type { Block } from '../document.ts';
import { bytes, grouped, magnitude, percent, significant } from '../numbers.ts';
import { heading, paragraph, quiet, type Section, type SectionInput, settings } from './section.ts';

export const trainingSection: Section = (input) => {
  const { facts, messages, plots } = input;
  const { training, words } = messages;
  const { curve } = facts;
  const reused = facts.stages.some(({ name, state }) => name === 'train' && state === 'cached');
  const [first, last] = [curve.points[0], curve.points.at(-1)];
  return [
    heading(2, 'training', training.heading),
    ...(reused ? [quiet(training.reused)] : []),
    settings([words.setting, words.value], trainingRows(input)),
    {
      kind: 'figure',
      name: 'training-curve',
      svg: plots.curve,
      caption: training.curveCaption(curve.stepsPerPoint),
      description: messages.plots.descriptions.curve(
        significant(first?.smoothed ?? null),
        significant(last?.smoothed ?? null),
      ),
    },
    {
      kind: 'figure',
      name: 'learning-rate',
      svg: plots.learningRate,
      caption: training.rateCaption,
      description: messages.plots.learningRate,
    },
    ...goodputBlocks(input),
    heading(3, 'stages', training.stages),
    {
      kind: 'table',
      head: [training.stage, training.state, training.time],
      // The report itself is still being written.
      rows: facts.stages
        .filter(({ name }) => name !== 'report')
        .map(({ name, state, seconds }) => [
          messages.stageNames[name],
          messages.stageStates[state],
          seconds === null ? '—' : messages.duration(seconds),
        ]),
      numeric: [2],
    },
  ];
};

function goodputBlocks({ facts, messages, plots }: SectionInput): Block[] {
  const { goodput, ledger } = facts;
  if (goodput === null || !ledger || plots.goodput === null) return [];
  const { duration, training } = messages;
  const { replays } = ledger;
  const words = training.goodput;
  const replayed = words.replays(grouped(replays.steps), grouped(replays.compared), grouped(replays.differing));
  const rounded =
    replays.comparedToRounding === 0
      ? []
      : [words.rounded(grouped(replays.comparedToRounding), significant(replays.largestDifference))];
  return [
    heading(3, 'goodput', words.heading),
    paragraph(words.said(percent(goodput.share), duration(goodput.wallSeconds), grouped(ledger.attempts))),
    { kind: 'figure', name: 'goodput', svg: plots.goodput, caption: words.caption, description: words.heading },
    {
      kind: 'table',
      head: [words.what, training.time, words.share],
      rows: goodput.parts.map(({ spending, seconds, share }) => [
        messages.plots.spending[spending],
        duration(seconds),
        percent(share),
      ]),
      numeric: [1, 2],
    },
    ...(replays.steps === 0 ? [] : [paragraph([replayed, ...rounded].join(' '))]),
    ...(goodput.advice.length === 0
      ? []
      : [{ kind: 'list' as const, items: goodput.advice.map((id) => words.advice[id]) }]),
  ];
}

function samplesOf({ facts, messages }: SectionInput): string | null {
  const { samples } = facts.summaries.train;
  if (samples === undefined) return null;
  const { seen, epochs, duplicates, dropped } = samples;
  return messages.training.samplesSeen(grouped(seen), grouped(epochs), grouped(duplicates), grouped(dropped));
}

function trainingRows(input: SectionInput): Parameters<typeof settings>[1] {
  const { facts, messages } = input;
  const { training, duration } = messages;
  const { train } = facts.summaries;
  const names = training.facts;
  return [
    [names.device, train.device],
    [names.ranks, grouped(train.ranks)],
    [names.recipe, train.recipe],
    [names.parameters, magnitude(train.parameters)],
    [names.steps, training.perEpoch(grouped(train.steps), grouped(train.stepsPerEpoch))],
    [names.samples, samplesOf(input)],
    [names.micro, grouped(train.microBatchSize)],
    [names.time, duration(train.stepSeconds)],
    [
      names.throughput,
      train.stepSeconds > 0 ? training.tokensPerSecond(grouped(Math.round(train.tokens / train.stepSeconds))) : null,
    ],
    [names.memory, bytes(train.peakMemoryBytes)],
    [names.gpuHours, String(Number(facts.gpuHours.toFixed(2)))],
    [names.cost, facts.cost?.amount == null ? null : `${facts.cost.amount.toFixed(2)} ${facts.cost.currency}`],
    [names.attempts, grouped(facts.attempts)],
    [names.finalLoss, significant(train.finalLoss)],
    [
      names.validation,
      train.validationLoss === null
        ? null
        : train.firstValidationLoss === null
          ? significant(train.validationLoss)
          : training.fromTo(significant(train.firstValidationLoss), significant(train.validationLoss)),
    ],
    [names.leftOut, train.leftOutSteps.length === 0 ? null : train.leftOutSteps.map(grouped).join(', ')],
  ];
}
