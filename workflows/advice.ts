/** What to press when a run waits, and what it will do: for a person at 3 a.m. who has never seen the code. */
import type { RunState } from '../contracts/search-attributes.ts';
import type { StageName } from '../contracts/stages.ts';
import type { StageFailure } from './decisions.ts';

/** Markdown, for the details pane of the UI and for `watch`. */
export function advise(failure: StageFailure, stage: StageName): string {
  switch (failure.type) {
    case 'CapReached': {
      const raised = 2 * Number(failure.details.maxGpuHours);
      return `Press ${RESUME} with ${changes({ policy: { maxGpuHours: raised } })}, or with another cap above what is spent: ${stage} goes on from what is saved, to the same result.`;
    }
    case 'OutOfMemory':
      return stage === 'train'
        ? `Press ${RESUME} with ${changes({ train: { queue: 'NAME' } })} to go on with a class of larger hosts, from the newest checkpoint. A shorter \`filter.maxTokens\` changes the data, so it needs a new run: **Start Workflow Like This One**.`
        : `Press ${RESUME} with ${changes({ train: { queue: 'NAME' } })} to evaluate on a class of larger hosts, or, while no evaluation is finished, with ${changes({ eval: { shardSize: 1 } })} to generate fewer answers together.`;
    case 'Diverged':
      return `Press ${RESUME} with \`{}\` to try again from the newest checkpoint. A lower learning rate changes what is learned, so training then starts anew: ${changes({ train: { optimizer: { learningRate: 1e-6 } } })}.`;
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

/** As the UI names them. */
const SEND = '**More Actions** → **Send an Update**';
const RESUME = `${SEND} → \`resume\``;
export const ABORT = `${SEND} → \`abort\``;

const thenResume = (effect: string): string => `Then press ${RESUME} with \`{}\`: ${effect}.`;

const changes = (value: object): string => `\`${JSON.stringify({ changes: value })}\``;

/** What to press on a run that has ended without a result; null where that would bring nothing. */
export function adviseEnded(state: RunState, type: string | null): string | null {
  const stays = 'Finished stages are served from the store, and training goes on from its newest checkpoint.';
  const again = `press **Reset** and choose the first event of the list. ${stays}`;
  const anew = '**More Actions** → **Start Workflow Like This One**';
  switch (state) {
    case 'aborted':
      return `To go on after all, press ${anew}. ${stays} (A Reset would repeat the abort, unless **Exclude Updates** is ticked.)`;
    case 'expired':
      return `Mend the cause, then ${again}`;
    case 'failed':
      return type === 'InvalidSpec'
        ? `Press ${anew} and correct the input. ${stays}`
        : `Where the data or the model was wrong and is mended, ${again} Where the input was wrong, press ${anew} and correct it.`;
    case 'running':
    case 'parked':
    case 'done':
    case 'unchanged':
      return null;
    default:
      return state satisfies never;
  }
}
