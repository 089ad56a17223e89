/** A plan as text for people. */
import { styleText } from 'node:util';
import type { MappingPlan } from '../../activities/filter/plan.ts';
import type { FilterSplitSummary } from '../../contracts/stages.ts';
import type { HostPlan, MemoryPlan, MemoryRecipe } from './memory-plan.ts';
import type { DataPlan, RunPlan, TrainingPlan } from './run-plan.ts';

export function renderPlan(plan: RunPlan, colour: boolean): string {
  const heading = (text: string): string => (colour ? styleText('bold', text) : text);
  const { spec, sources } = plan;
  const blocks: string[][] = [
    [
      heading('Sources'),
      `  model    ${spec.model.source}${revision(sources?.model.revision)}`,
      `  dataset  ${spec.dataset.source}${revision(sources?.dataset.revision)}`,
    ],
  ];
  if (plan.data) blocks.push([heading('Data'), ...dataLines(plan.data, plan)]);
  if (plan.mappings) blocks.push([heading('Rows kept, by what is learned'), ...mappingLines(plan.mappings, plan)]);
  blocks.push([heading('Training'), ...trainingLines(plan.training, plan)]);
  if (plan.memory) blocks.push([heading('Memory of each GPU'), ...memoryLines(plan.memory, stepsOf(plan))]);
  if (plan.stages) {
    blocks.push([
      heading('Stages'),
      ...plan.stages.map(
        ({ name, cached }) => `  ${cached ? '✓' : '·'} ${name.padEnd(18)}${cached ? 'cached' : 'runs'}`,
      ),
    ]);
  }
  if (plan.gaps.length > 0) blocks.push([heading('Not known'), ...plan.gaps.map((gap) => `  ! ${gap}`)]);
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

const revision = (pinned: string | undefined): string => (pinned ? `  at ${pinned.slice(0, 12)}` : '');

const count = (value: number): string => Math.round(value).toLocaleString('en-US');

function dataLines({ rows, isWhole, columns, train, validation }: DataPlan, { spec }: RunPlan): string[] {
  const first = isWhole ? '' : ' (the first ones; there are more)';
  return [
    `  ${count(rows)} rows${first}: ${count(train)} train + ${count(validation)} validation, seed ${spec.dataset.splitSeed}`,
    `  columns ${columns.join(', ')}`,
  ];
}

function mappingLines(mappings: readonly MappingPlan[], { spec }: RunPlan): string[] {
  const { thresholds, maxTokens } = spec.filter;
  const head = [
    'response',
    'train',
    'validation',
    'mean',
    'median',
    'longest',
    ...thresholds.map((at) => `> ${count(at)}`),
  ];
  const rows = mappings.map((way) => [
    `${way.chosen ? '▸' : ' '} ${way.response}${way.trace === null ? '' : ` + ${way.trace}`}`,
    keptOf(way.train),
    keptOf(way.validation),
    count(way.tokens.mean),
    count(way.tokens.p50),
    count(way.tokens.max),
    ...way.over.map(({ rows }) => count(rows)),
  ]);
  const notes = mappings.flatMap((way) => [...sampleNote(way), ...rejectNote(way)]);
  return [
    ...table([head.map((title, column) => (column === 0 ? `  ${title}` : title)), ...rows]),
    `  in tokens, prompt and end included; longest training row kept ${count(maxTokens)}`,
    ...notes,
  ];
}

const keptOf = ({ kept, rejected }: FilterSplitSummary): string =>
  `${count(kept)} of ${count(kept + Object.values(rejected).reduce((sum, rows) => sum + rows, 0))}`;

const sampleNote = ({ response, counted, rows }: MappingPlan): string[] =>
  counted === rows ? [] : [`  ${response}: counted on a random sample of ${count(counted)} of ${count(rows)} rows`];

/** Of the chosen way alone: what the run would remove, by reason. */
function rejectNote({ chosen, train, validation }: MappingPlan): string[] {
  if (!chosen) return [];
  const reasons = [train, validation].flatMap(({ rejected }, side) =>
    Object.entries(rejected).map(
      ([reason, rows]) => `${count(rows)} ${reason} in ${side === 0 ? 'train' : 'validation'}`,
    ),
  );
  return reasons.length === 0 ? [] : [`  rejected: ${reasons.join(', ')}`];
}

function trainingLines(training: TrainingPlan | null, { spec }: RunPlan): string[] {
  const { train } = spec;
  const recipe = `  ${train.objective.weighting} objective, learning rate ${train.optimizer.learningRate}, seed ${train.seed}`;
  const capped = train.maxSteps === null ? '' : `, at most ${train.maxSteps}`;
  if (training === null)
    return [`  ${train.epochs} epochs of global batches of ${train.globalBatchSize}${capped}`, recipe];
  const { rows, isExact, stepsPerEpoch, steps } = training;
  return [
    `  ${isExact ? '' : 'about '}${count(rows)} rows in global batches of ${train.globalBatchSize}: ${count(stepsPerEpoch)} steps an epoch × ${train.epochs} epochs${capped} = ${count(steps)} steps`,
    recipe,
  ];
}

const gigabytes = (bytes: number): string =>
  bytes >= 1e8 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;

function memoryLines({ parameters, shapeFrom, asked, gpus, advice, others }: MemoryPlan, steps: Steps): string[] {
  const { bytes, request } = asked;
  const kinds: [string, number][] = [
    ['weights', bytes.weights],
    ['gradients', bytes.gradients],
    ['Adam states', bytes.moments],
    ['gathered of shards', bytes.gathered],
    ['weights cast to bf16', bytes.castWeights],
    ['activations, about', bytes.activations],
    ['logits', bytes.logits],
    ['in all', bytes.total],
  ];
  return [
    `  ${count(parameters)} parameters (${shapeFrom}), ${recipeOf(request)}`,
    ...kinds
      .filter(([, size]) => size > 0)
      .map(([kind, size]) => `  ${kind.padEnd(22)}${gigabytes(size).padStart(10)}`),
    `  ${verdict(gpus, asked.fits)}`,
    ...(advice === null ? [] : [`  → ${advice}`]),
    ...firstStepLines(asked),
    '  on other hosts:',
    ...table(others.map((host) => hostRow(host, steps))),
  ];
}

function firstStepLines({ firstStep }: HostPlan): string[] {
  if (firstStep === null) return [];
  const { weightsBytes, checkpointBytes, firstAttemptSeconds, laterAttemptSeconds, startSeconds } = firstStep;
  return [
    `  to the first step on a fresh host, at 10 Gbit/s: about ${count(firstAttemptSeconds)} s (${gigabytes(weightsBytes)} of weights);`,
    `  of a later attempt, which finds its kernels: ${count(laterAttemptSeconds)} s (a checkpoint of ${gigabytes(checkpointBytes)}), ${count(startSeconds)} s where all is on the host`,
  ];
}

const recipeOf = ({ recipe, microBatchSize, maxTokens, activationCheckpointing, isSharded }: MemoryRecipe): string =>
  `${recipe}${isSharded ? ' in shards' : ''}, micro-batch ${microBatchSize} × ${count(maxTokens)} tokens${activationCheckpointing ? ', activations recomputed' : ''}`;

/** Optimizer steps and the rows of one; null where they are not known. */
type Steps = { steps: number; rows: number } | null;

const stepsOf = ({ training, spec }: RunPlan): Steps =>
  training && { steps: training.steps, rows: Math.min(training.rows, spec.train.globalBatchSize) };

/** Hours are at most: as if every row were as long as the longest may be. */
function hostRow({ gpus, gpu, memoryGib, nearest, tokensPerSecond }: HostPlan, training: Steps): string[] {
  const host = `  ${gpus} × ${gpu} ${Math.ceil(memoryGib ?? 0)} GB`;
  if (nearest === null) return [host, 'nothing fits', ''];
  const hours =
    training && tokensPerSecond ? (training.steps * training.rows * nearest.maxTokens) / tokensPerSecond / 3600 : null;
  return [host, recipeOf(nearest), hours === null ? '' : `≤ ${hours < 10 ? hours.toFixed(1) : count(hours)} h`];
}

function verdict(gpus: MemoryPlan['gpus'], fits: boolean | null): string {
  if (gpus === null) return 'no GPU here; name some with --gpus N --gpu-memory-gib G';
  const what = `${gpus.count} × ${Number(gpus.memoryGib.toFixed(1))} GiB${gpus.from === 'this host' ? ' on this host' : ''}`;
  return fits ? `✓ fits ${what}` : `✗ does not fit ${what}`;
}

/** First column to the left, numbers to the right. */
function table(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart((widths[column] ?? 0) + 2)))
      .join('')
      .trimEnd(),
  );
}
