/** Puts the report together: the sections in the walkthrough's order, as one document. */
import { code, type ReportDocument } from './document.ts';
import type { ReportFacts } from './facts.ts';
import { messagesIn } from './messages/catalogue.ts';
import type { Plots } from './plots/plots.ts';
import { architectureSection } from './sections/architecture.ts';
import { challengesSection } from './sections/challenges.ts';
import { checklistSection } from './sections/checklist.ts';
import { departuresSection } from './sections/departures.ts';
import { nextSection } from './sections/next.ts';
import { nightsSection } from './sections/nights.ts';
import { overviewSection } from './sections/overview.ts';
import { provenanceSection } from './sections/provenance.ts';
import { resultsSection } from './sections/results.ts';
import { type Section, shortName } from './sections/section.ts';
import { summarySection } from './sections/summary.ts';
import { trainingSection } from './sections/training.ts';

const sections: readonly Section[] = [
  summarySection,
  overviewSection,
  trainingSection,
  resultsSection,
  nightsSection,
  challengesSection,
  architectureSection,
  nextSection,
  checklistSection,
  departuresSection,
  provenanceSection,
];

export function reportDocument(facts: ReportFacts, plots: Plots): ReportDocument {
  const { language, title } = facts.spec.report;
  const messages = messagesIn(language);
  const { run, sources } = facts;
  return {
    language,
    title: title ?? messages.title(shortName(sources.model.source), shortName(sources.dataset.source)),
    subtitle: messages.subtitle(code(run.workflowId), run.startedAt.slice(0, 16).replace('T', ' ')),
    words: messages.words,
    blocks: sections.flatMap((section) => section({ facts, messages, plots })),
  };
}
