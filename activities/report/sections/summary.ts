/** The box at the top: what came out, in a sentence and a few numbers. */
import type { Tone } from '../document.ts';
import type { Accuracy, ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { grouped, percent, points, significant } from '../numbers.ts';
import { toReport } from './nights.ts';
import type { Section } from './section.ts';

const tones: Record<ReportFacts['verdict'], Tone> = {
  better: 'good',
  'no-clear-difference': 'neutral',
  worse: 'bad',
  unmeasured: 'neutral',
};

/** One sentence for the report's top, the workflow's result and the command line. */
export function headline({ accuracy, difference }: ReportFacts, { summary }: Messages): string {
  if (!difference) return summary.unmeasured;
  const { gain, interval } = difference;
  return summary.headline(
    percent(accuracy.base.accuracy),
    percent(accuracy.tuned.accuracy),
    points(gain),
    points(interval.low),
    points(interval.high),
  );
}

export const summarySection: Section = ({ facts, messages }) => {
  const { verdict, difference, accuracy, summaries } = facts;
  const { label, meaning, tiles } = messages.summary;
  const { firstValidationLoss, validationLoss, finalLoss, steps, stepSeconds } = summaries.train;
  const rate = (title: string, { accuracy: value, interval }: Accuracy) => ({
    label: title,
    value: percent(value),
    note: interval && tiles.interval(percent(interval.low), percent(interval.high)),
  });
  return [
    {
      kind: 'summary',
      tone: tones[verdict],
      label: label[verdict],
      headline: headline(facts, messages),
      lines: [
        meaning[verdict](grouped(difference?.questions ?? 0)),
        ...(facts.earlier ? [messages.nights.unchanged(toReport(facts.earlier))] : []),
      ],
    },
    {
      kind: 'tiles',
      items: [
        rate(tiles.base, accuracy.base),
        rate(tiles.tuned, accuracy.tuned),
        {
          label: tiles.gain,
          value: difference ? points(difference.gain) : '—',
          note: difference && tiles.interval(points(difference.interval.low), points(difference.interval.high)),
        },
        validationLoss === null
          ? { label: tiles.finalLoss, value: significant(finalLoss), note: null }
          : {
              label: tiles.loss,
              value: significant(validationLoss),
              note: firstValidationLoss === null ? null : tiles.lossBefore(significant(firstValidationLoss)),
            },
        { label: tiles.time, value: messages.duration(stepSeconds), note: tiles.steps(grouped(steps)) },
      ],
    },
  ];
};
