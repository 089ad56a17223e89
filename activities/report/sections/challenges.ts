/** Section 4: what failed and what was done about it, and which rows were not learned from. */
import { isFailureType } from '../../../contracts/failures.ts';
import type { RejectReason } from '../../../contracts/stages.ts';
import { type NoticeType, noticeTypes } from '../../../contracts/workflow-api.ts';
import type { Block, Text } from '../document.ts';
import { grouped } from '../numbers.ts';
import { heading, paragraph, quiet, type Section, type SectionInput } from './section.ts';

/** A message in a table is for orientation; the whole is in the run's history. */
const MESSAGE_CHARACTERS = 240;

export const challengesSection: Section = (input) => {
  const { facts, messages } = input;
  const { challenges } = messages;
  return [
    heading(2, 'challenges', challenges.heading),
    heading(3, 'incidents', challenges.incidents),
    ...(facts.incidents.length === 0
      ? [paragraph(challenges.noIncidents)]
      : [incidentTable(input), quiet(challenges.replays)]),
    heading(3, 'rejected', challenges.rejected),
    ...rejectedTable(input),
  ];
};

function incidentTable({ facts, messages }: SectionInput): Block {
  const { headers, failure, verdict } = messages.challenges;
  return {
    kind: 'table',
    head: [headers.when, headers.stage, headers.what, headers.verdict, headers.action],
    rows: facts.incidents.map((incident): Text[] => [
      incident.at.slice(0, 19).replace('T', ' '),
      messages.stageNames[incident.stage],
      `${isFailureType(incident.type) || isNotice(incident.type) ? failure[incident.type] : incident.type}: ${clip(incident.message)}`,
      verdict[incident.verdict],
      incident.action,
    ]),
    numeric: [],
  };
}

function rejectedTable({ facts, messages: { challenges } }: SectionInput): Block[] {
  const { train, validation } = facts.summaries.filter;
  const reasons = (Object.keys(challenges.reason) as RejectReason[]).filter(
    (reason) => (train.rejected[reason] ?? 0) + (validation.rejected[reason] ?? 0) > 0,
  );
  if (reasons.length === 0) return [paragraph(challenges.noneRejected)];
  const { rejectedHeaders: head } = challenges;
  return [
    {
      kind: 'table',
      head: [head.reason, head.train, head.validation],
      rows: [
        ...reasons.map((reason) => [
          challenges.reason[reason],
          grouped(train.rejected[reason] ?? 0),
          grouped(validation.rejected[reason] ?? 0),
        ]),
        [challenges.kept, grouped(train.kept), grouped(validation.kept)],
      ],
      numeric: [1, 2],
    },
    quiet(challenges.rejectedNote),
  ];
}

const isNotice = (type: string): type is NoticeType => noticeTypes.some((name) => name === type);

function clip(message: string): string {
  const line = message.replaceAll(/\s+/g, ' ').trim();
  const characters = [...line];
  return characters.length <= MESSAGE_CHARACTERS ? line : `${characters.slice(0, MESSAGE_CHARACTERS).join('')}…`;
}
