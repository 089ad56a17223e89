/** The walkthrough's checklist, filled from what happened. */
import type { ReportFacts } from '../facts.ts';
import { grouped, short } from '../numbers.ts';
import { heading, type Section } from './section.ts';

export const checklistSection: Section = ({ facts, messages: { checklist } }) => {
  const { items } = checklist;
  const { train, convert, filter } = facts.summaries;
  const questions = facts.difference?.questions ?? 0;
  return [
    heading(2, 'checklist', checklist.heading),
    {
      kind: 'checklist',
      items: [
        { done: true, text: items.environment, note: checklist.environment(train.torch, train.device) },
        // A machine cannot tick this one.
        { done: false, text: items.explain, note: checklist.explain },
        {
          done: convert.rows > 0,
          text: items.converted,
          note: checklist.converted(grouped(convert.rows), grouped(filter.train.kept)),
        },
        {
          done: train.steps >= train.stepsPerEpoch,
          text: items.trained,
          note: checklist.trained(epochsDone(facts), grouped(train.steps), short(train.weightsSha256)),
        },
        {
          done: questions > 0,
          text: items.compared,
          note: checklist.compared(grouped(questions), facts.cases.length),
        },
        {
          done: true,
          text: items.written,
          note: checklist.written(facts.incidents.length, grouped(rejectedRows(facts))),
        },
        {
          done: facts.qualitative.length > 0 || facts.cases.length > 0,
          text: items.demo,
          note: checklist.demo(`reverie compare ${facts.run.workflowId} "…"`),
        },
      ],
    },
  ];
};

const epochsDone = ({ summaries: { train } }: ReportFacts): string =>
  String(Number((train.steps / train.stepsPerEpoch).toFixed(2)));

const rejectedRows = ({ summaries: { filter } }: ReportFacts): number =>
  [filter.train, filter.validation]
    .flatMap(({ rejected }) => Object.values(rejected))
    .reduce((sum, rows) => sum + rows, 0);
