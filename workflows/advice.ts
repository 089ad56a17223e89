/** What to press when a run waits, and what it will do: for a person at 3 a.m. who has never seen the code. */
import type { StageName } from '../contracts/stages.ts';
import type { StageFailure } from './decisions.ts';

/** Markdown, for the details pane of the UI and for `watch`. */
export function advise(failure: StageFailure, stage: StageName): string {
  switch (failure.type) {
    case 'CapReached': {
      const raised = 2 * Number(failure.details.maxGpuHours);
      return `Press **Update**, choose \`resume\` with ${changes({ policy: { maxGpuHours: raised } })}, or with another cap above what is spent: ${stage} goes on from what is saved, to the same result.`;
    }
    case 'OutOfMemory':
      return stage === 'train'
        ? `Press **Update**, choose \`resume\` with ${changes({ train: { queue: 'NAME' } })} to go on with a class of larger hosts, from the newest checkpoint. A shorter \`filter.maxTokens\` changes the data, so it needs a new run: **Start Workflow Like This One**.`
        : `Press **Update**, choose \`resume\` with ${changes({ train: { queue: 'NAME' } })} to evaluate on a class of larger hosts, or, while no evaluation is finished, with ${changes({ eval: { shardSize: 1 } })} to generate fewer answers together.`;
    case 'Diverged':
      return `Press **Update**, choose \`resume\` with \`{}\` to try again from the newest checkpoint. A lower learning rate changes what is learned, so training then starts anew: ${changes({ train: { optimizer: { learningRate: 1e-6 } } })}.`;
    case 'TrainerHung':
    case 'HardwareFault':
      return `Look at the host that the message names and take it out if it is broken. ${thenResume(`${stage} goes on from the newest checkpoint on whichever worker is free`)}`;
    case 'StoreUnavailable':
    case 'DiskFull':
      return `Mend the store or make room, as the message says. ${thenResume('nothing that was committed is done again')}`;
    case 'CheckpointLost':
      return `Look whether the store lost objects or another store is configured. ${thenResume('that accepts the loss, and training goes on from the step that was found')}`;
    case 'ArtifactMissing':
      return `Look why the store loses objects. ${thenResume('what is missing is made anew, everything else is served from the store')}`;
    default:
      return `Read the message and the worker's log, and mend the cause. ${thenResume(`${stage} goes on from what the store holds`)}`;
  }
}

const thenResume = (effect: string): string => `Then press **Update**, choose \`resume\` with \`{}\`: ${effect}.`;

const changes = (value: object): string => `\`${JSON.stringify({ changes: value })}\``;
