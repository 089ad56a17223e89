/** Section 6: what to try next, from what this run showed. */
import type { Text } from '../document.ts';
import type { ReportFacts } from '../facts.ts';
import type { Messages } from '../messages/catalogue.ts';
import { grouped, percent, significant } from '../numbers.ts';
import { heading, type Section } from './section.ts';

const NOTABLE_SHARE = 0.05;
const ENOUGH_SHARE = 0.9;

export const nextSection: Section = ({ facts, messages }) => [
  heading(2, 'next', messages.next.heading),
  { kind: 'list', items: suggestions(facts, messages.next) },
];

/** The most telling first; the walkthrough's two, hyperparameters and data, always. */
function suggestions(facts: ReportFacts, next: Messages['next']): Text[] {
  const { verdict, difference, revealOrder, accuracy, spec, summaries } = facts;
  const items: Text[] = [];
  if (verdict === 'worse') items.push(next.worse);
  if (verdict === 'no-clear-difference' && difference) {
    items.push(difference.gain === 0 ? next.noGain : next.moreQuestions(grouped(questionsNeeded(difference))));
  }
  const lowest = facts.curve.validation.reduce((least, { loss }) => Math.min(least, loss), Number.POSITIVE_INFINITY);
  const last = facts.curve.validation.at(-1)?.loss;
  if (last !== undefined && last > lowest * (1 + NOTABLE_SHARE)) {
    items.push(next.overfit(significant(lowest), significant(last)));
  }
  const { kept, rejected } = summaries.filter.train;
  const overLong = rejected['over-long'] ?? 0;
  if (overLong > NOTABLE_SHARE * (kept + overLong)) {
    items.push(next.overLong(grouped(overLong), grouped(spec.filter.maxTokens)));
  }
  const { endedShare } = revealOrder.tuned;
  if (endedShare !== null && endedShare < ENOUGH_SHARE) items.push(next.unfinished(percent(endedShare)));
  const { coverage } = accuracy.tuned;
  if (coverage !== null && coverage < ENOUGH_SHARE) items.push(next.coverage(percent(coverage)));
  return [...items, next.hyperparameters, next.augmentation, next.sampler];
}

/** Questions at which a gain of this size, with this much disagreement, would just leave zero out (Wald). */
function questionsNeeded({
  gain,
  onlyBaseCorrect,
  onlyTunedCorrect,
  questions,
}: NonNullable<ReportFacts['difference']>) {
  const disagreement = (onlyBaseCorrect + onlyTunedCorrect) / questions;
  const exact = (1.96 ** 2 * (disagreement - gain ** 2)) / gain ** 2;
  const scale = 10 ** Math.max(0, Math.floor(Math.log10(exact)) - 1);
  return Math.max(questions + 1, Math.ceil(exact / scale) * scale);
}
