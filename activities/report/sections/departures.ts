/** Where the run departs from the walkthrough's letter, as far as it holds for this spec. */
import { code } from '../document.ts';
import { heading, paragraph, type Section } from './section.ts';

export const departuresSection: Section = ({ facts, messages: { departures } }) => [
  heading(2, 'departures', departures.heading),
  paragraph(departures.intro),
  { kind: 'list', items: facts.departures.map((id) => departures.texts[id]) },
  ...(facts.changedValues.length === 0
    ? []
    : [
        heading(3, 'changed-values', departures.changed),
        {
          kind: 'table' as const,
          head: [departures.headers.field, departures.headers.guide, departures.headers.ours],
          rows: facts.changedValues.map(({ field, guide, ours }) => [code(field), code(guide), code(ours)]),
          numeric: [],
        },
      ]),
];
