/** From what and with what: all that it takes to check the run, or to repeat it. */
import { stageVersions } from '../../../contracts/stage-keys.ts';
import { type Block, code, link, type Text } from '../document.ts';
import { heading, type Section, type SectionInput, settings } from './section.ts';

export const provenanceSection: Section = (input) => {
  const { facts, messages } = input;
  const { provenance, words } = messages;
  return [
    heading(2, 'provenance', provenance.heading),
    settings([words.setting, words.value], identityRows(input)),
    {
      kind: 'details',
      summary: provenance.artifacts,
      blocks: [artifactTable(input)],
    },
    {
      kind: 'details',
      summary: provenance.spec,
      blocks: [{ kind: 'listing', language: 'json', text: JSON.stringify(facts.spec, null, 2) }],
    },
  ];
};

function identityRows({ facts, messages: { provenance } }: SectionInput): Parameters<typeof settings>[1] {
  const { sources, spec, run, summaries, promote } = facts;
  return [
    [provenance.model, pinned(sources.model)],
    [provenance.dataset, pinned(sources.dataset)],
    [provenance.weights, code(summaries.train.weightsSha256)],
    [provenance.seeds, provenance.seedValues(spec.dataset.splitSeed, spec.train.seed, spec.eval.seed)],
    [provenance.torch, summaries.train.torch],
    [
      provenance.versions,
      Object.entries(stageVersions)
        .map(([stage, version]) => `${stage} ${version}`)
        .join(', '),
    ],
    [provenance.run, [code(run.workflowId), ' ', code(run.runId)]],
    [provenance.ui, run.uiUrl === null ? null : link(run.uiUrl)],
    [provenance.promotion, promote?.reason ?? null],
  ];
}

const pinned = ({ source, revision }: { source: string; revision: string }): Text => [
  code(source),
  ' ',
  code(revision),
];

function artifactTable({ facts, messages: { provenance } }: SectionInput): Block {
  return {
    kind: 'table',
    head: [provenance.artifact, provenance.key, provenance.digest],
    rows: Object.entries(facts.artifacts).map(([name, { stage, key, digest }]) => [
      name === stage ? stage : `${name} (${stage})`,
      code(key),
      code(digest),
    ]),
    numeric: [],
  };
}
