/**
 * The trainer's contract: what an activity writes to `spec.json`, and what `python -m dream_trainer` answers with, a
 * line of JSON at a time, in `events.jsonl`. The JSON Schemas under `contracts/schemas/` are made from this file;
 * the Python tests validate real events against them.
 */
import { z } from 'zod';

/** Exit status of a trainer that saved on SIGTERM (sysexits' EX_TEMPFAIL); 2 is bad input, 0 the end. */
export const EXIT_PREEMPTED = 75;
/** The disk was full; the incident that says so may have found no room either. */
export const EXIT_DISK_FULL = 73;
export const EXIT_INVALID = 2;

const path = z.string().min(1);
const count = z.int().min(0);
const positive = z.int().min(1);
const seconds = z.number().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const objectiveSchema = z.strictObject({
  weighting: z
    .enum(['none', 'original', 'linear', 'cart'])
    .default('cart')
    .describe('Weight of a masked token: 1, 1/t, 1 − t, or CART, the nearness of unmasked context.'),
  cartP: z.number().gt(0).lt(1).default(0.1).describe("p of CART's geometric kernel ½·p·(1−p)^(|i−j|−1)."),
  cutoff: z
    .enum(['none', 'random', 'random_with_input_pad'])
    .default('random_with_input_pad')
    .describe(
      'How a global batch is cut to one length: not at all; at the length of one row drawn by step; prompts left-padded to one length and responses cut or padded to the length of one drawn.',
    ),
  keepEos: z
    .boolean()
    .default(true)
    .describe(
      "Count a response with its end-of-text token when the cutoff draws a length, and delete none from the middle. False is the public trainer's way, which loses the real end.",
    ),
  normalisation: z
    .enum(['global', 'micro-batch-means'])
    .default('global')
    .describe(
      'Divide the summed loss by the masked tokens of the global batch, or average the means of micro-batches as the public trainer does (for comparison only: it depends on micro-batch and rank count).',
    ),
});

export const optimizerSchema = z.strictObject({
  learningRate: z.number().gt(0).max(1).default(2e-6).describe('Peak learning rate of AdamW.'),
  schedule: z
    .enum(['cosine', 'constant'])
    .default('cosine')
    .describe('Course of the learning rate after warm-up; cosine falls to 0 at the last step.'),
  warmupRatio: z
    .number()
    .min(0)
    .max(1)
    .default(0.1)
    .describe('Share of all steps over which the learning rate rises linearly from 0.'),
  beta1: z.number().min(0).lt(1).default(0.9).describe('AdamW β₁.'),
  beta2: z.number().min(0).lt(1).default(0.95).describe('AdamW β₂.'),
  epsilon: z.number().gt(0).default(1e-8).describe('AdamW ε.'),
  weightDecay: z.number().min(0).default(0.01).describe('Decoupled weight decay.'),
  clipNorm: z
    .number()
    .gt(0)
    .nullable()
    .default(1)
    .describe('Largest L2 norm of the whole gradient; null does not clip.'),
});

export const loraSchema = z.strictObject({
  rank: positive.default(16).describe('Inner size of the adapters.'),
  alpha: z.number().gt(0).default(32).describe('An adapter counts alpha / rank times.'),
});

export const recipes = ['fp32', 'full-fp32', 'full-bf16-sr', 'full-bf16-sr-8bit', 'lora'] as const;

export const samplerSchema = z.strictObject({
  algorithm: z
    .enum(['origin', 'maskgit_plus', 'topk_margin', 'entropy'])
    .default('entropy')
    .describe('Remasking strategy: which masked places are revealed first.'),
  maxNewTokens: positive.max(131072).default(512).describe('Tokens generated for each prompt.'),
  steps: positive.max(131072).default(256).describe('Denoising steps for each prompt.'),
  temperature: z
    .number()
    .min(0)
    .default(0.2)
    .describe('Temperature of the token distribution; 0 takes the most probable.'),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('Nucleus: keep the most probable tokens up to this mass; null keeps all.'),
  topK: positive.nullable().default(null).describe('Keep the k most probable tokens; null keeps all.'),
  algorithmTemperature: z
    .number()
    .min(0)
    .default(0)
    .describe('Above 0, places are drawn from softmax(confidence / this) instead of the most confident.'),
  mode: z
    .enum(['exact', 'cached'])
    .default('exact')
    .describe(
      'Exact computes every place at every step; cached reveals block by block over kept keys and values, many times faster and with other texts; the first 8 rows are then answered exactly as well, and the report tells how far both agree.',
    ),
  blockLength: positive.max(131072).default(32).describe('Cached: places that are revealed before those behind them.'),
  refreshEveryBlocks: positive
    .max(131072)
    .default(1)
    .describe(
      'Cached: all places are computed anew at the first of so many blocks, else only a block and the one before.',
    ),
  threshold: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'Cached: a step reveals every place at least so sure (1 is certain), and one at least, whatever steps says; null keeps to steps.',
    ),
});

const messages = z.array(z.strictObject({ role: z.string(), content: z.string() })).min(1);

/** `dream_trainer train --spec FILE --run-dir DIR`. Paths are local; units are in the names. */
export const trainSpecSchema = z.strictObject({
  version: z.literal(1),
  identity: z.string().min(1).describe('The train key. A checkpoint made under another identity is refused.'),
  model: path.describe('Hugging Face folder of the base model.'),
  trainData: path.describe('Parquet: id, prompt, response, reference.'),
  validationData: path.nullable().describe('Parquet for the validation loss; null measures none.'),
  maxTokens: positive.describe(
    'Longest row, prompt and response and end together, in tokens; a longer validation row is truncated, a longer training row is an error.',
  ),
  seed: count,
  epochs: positive,
  maxSteps: positive.nullable().describe('End after this many steps though epochs remain; the schedule follows it.'),
  globalBatchSize: positive.describe('Rows of one optimizer step over all ranks.'),
  microBatchSize: positive.describe('Rows of one forward pass of one rank.'),
  activationCheckpointing: z.boolean().describe('Recompute activations in the backward pass.'),
  activationBudget: z
    .number()
    .min(0)
    .max(1)
    .describe('Share of its activations that a compiled block then keeps; one that is not compiled keeps none.'),
  compile: z
    .enum(['auto', 'on', 'off'])
    .describe('Compile the blocks (part of the numerics); auto does on CUDA from 1e9 parameters on.'),
  sharding: z.enum(['auto', 'on', 'off']).describe("As the run spec's train.sharding; auto is off on CPUs."),
  recipe: z
    .enum(['auto', ...recipes])
    .describe("As the run spec's train.recipe; with auto a training begun keeps the recipe of its checkpoint."),
  lora: loraSchema,
  objective: objectiveSchema,
  optimizer: optimizerSchema,
  leaveOutSteps: z
    .array(positive)
    .describe('Steps (from 1) whose batch is left out after a divergence: no update, the schedule moves on.'),
  validateEverySteps: positive.nullable().describe('Null validates at the end of each epoch.'),
  spikeFactor: z
    .number()
    .gt(1)
    .nullable()
    .describe(
      'Diverged when a loss is this many robust deviations (median, MAD) above the last 32; null looks only for NaN and infinity.',
    ),
  checkpoint: z.strictObject({
    resumeFrom: path.nullable().describe('Folder of a verified checkpoint, or null to start from the base.'),
    everySteps: positive.nullable().describe('Fixed cadence; null follows Young–Daly from the measured cost.'),
    expectedSecondsBetweenPreemptions: seconds,
    minSeconds: seconds.describe('Floor of the cadence.'),
    maxSeconds: seconds.describe('Ceiling of the cadence.'),
  }),
  threads: positive.nullable().describe('CPU threads of a rank; part of the numerics. Null is 1.'),
});
export type TrainerTrainSpec = z.infer<typeof trainSpecSchema>;

/** `dream_trainer eval --spec FILE --run-dir DIR`: generates in shards fixed by row number; a shard that exists in `DIR/shards` is kept. */
export const evalSpecSchema = z.strictObject({
  version: z.literal(1),
  model: path.describe('Hugging Face folder.'),
  data: path.describe('Parquet: id, prompt, response, reference.'),
  maxSamples: positive.nullable().describe('The first n rows; null is all.'),
  promptStyle: z
    .enum(['as-trained', 'last-user-message'])
    .describe('All turns as in training, or only the last user message as the walkthrough does.'),
  qualitativePrompts: z
    .array(z.string())
    .describe(
      "User messages answered after the samples, with the data's first system prompt where there is one and the style is as-trained.",
    ),
  maxPromptTokens: positive
    .nullable()
    .describe("Longer prompts are an error by name; null is the model's context less the new tokens."),
  shardSize: positive.describe('Rows of a shard, which is one batch: fixes the text of each to the last bit.'),
  sampler: samplerSchema,
  seed: count,
  recipe: z.enum(['auto', 'fp32', 'bf16']),
  threads: positive.nullable(),
});
export type TrainerEvalSpec = z.infer<typeof evalSpecSchema>;

/** One line of `DIR/shards/NNNNN.jsonl`. */
export const predictionSchema = z.strictObject({
  kind: z
    .enum(['sample', 'qualitative', 'exact'])
    .describe('A validation row, a qualitative prompt, or one of the first rows again, by the exact sampler.'),
  index: count.describe('Row number in the data, or number of the qualitative prompt.'),
  id: z.string(),
  prompt: messages.describe('What the model was given.'),
  reference: z.string(),
  prediction: z.string().describe('Text up to the first end-of-text or end-of-turn token, special tokens removed.'),
  newTokens: count.describe('Tokens before that end.'),
  ended: z.boolean().describe('Whether an end token was generated at all.'),
  revealSteps: z.array(count).describe('For each new token, the step (from 0) that revealed it.'),
});
export type Prediction = z.infer<typeof predictionSchema>;

/** `dream_trainer grade`: a line in, a line out, in order. */
export const gradeInputSchema = z.strictObject({ reference: z.string(), prediction: z.string() });
export const gradeSchema = z.strictObject({
  verdict: z.enum(['correct', 'incorrect', 'ungradable']),
  extracted: z.string().nullable().describe('The answer found in the prediction.'),
  reason: z.string(),
});
export type Grade = z.infer<typeof gradeSchema>;

/** `dream_trainer generate --stream`: a line after each step, and one with the answer at the end. */
export const generationSchema = z.union([
  z.strictObject({
    step: positive.describe('Denoising steps done.'),
    of: positive,
    text: z.string().describe('The text so far, each masked token as ░.'),
  }),
  z.strictObject({
    done: z.literal(true),
    text: z.string().describe('As a prediction: up to the first end, special tokens removed.'),
    newTokens: count,
    ended: z.boolean(),
  }),
]);
export type Generation = z.infer<typeof generationSchema>;

export const phases = ['start', 'load', 'compile', 'train', 'save', 'validation', 'generate', 'export'] as const;

const at = z.number().describe('Unix time in seconds.');
const learned = {
  step: positive.describe('Steps done, this one included.'),
  epoch: count.describe('From 0.'),
  loss: z.number().describe('Nats; weighted as the objective says, normalised over the global batch.'),
  learningRate: z.number(),
  gradNorm: z.number().describe('L2 norm before clipping.'),
  tokens: count.describe('Places computed over all ranks, padding included.'),
  maskedTokens: count,
  leftOut: z.boolean(),
};
const measured = {
  seconds,
  dataSeconds: seconds.describe('Part of it spent waiting for the batch.'),
};
const rows = z.array(count).describe('Row numbers of the global batch.');

export const eventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('phase'), at, phase: z.enum(phases) }),
  z.strictObject({
    type: z.literal('plan'),
    at,
    rows: count,
    stepsPerEpoch: positive,
    steps: positive,
    parameters: positive,
    ranks: positive,
    device: z.string(),
    torch: z.string(),
    recipe: z.string(),
    threads: positive,
    fromStep: count.describe('0, or the step of the checkpoint resumed from.'),
    deviceMemoryBytes: count.nullable().describe('Of one GPU; null without one.'),
    sharded: z.boolean().optional().describe('Whether ranks share weights, gradients and moments.'),
  }),
  z.strictObject({
    type: z.literal('step'),
    at,
    ...learned,
    ...measured,
    rows,
  }),
  z.strictObject({
    type: z.literal('checkpoint'),
    at,
    step: count,
    path,
    bytes: count,
    stallSeconds: seconds.describe('Time training stood still.'),
    seconds: seconds.describe('Until its manifest was written.'),
    reason: z.enum(['cadence', 'validation', 'preempted', 'final']),
  }),
  z.strictObject({ type: z.literal('validation'), at, step: count, loss: z.number(), rows: positive, seconds }),
  z.strictObject({
    type: z.literal('shard'),
    at,
    shard: count,
    path,
    samplesDone: count,
    samples: count,
    tokens: count,
    seconds,
  }),
  z.strictObject({
    type: z.literal('incident'),
    at,
    kind: z.enum(['OutOfMemory', 'Diverged', 'HardwareFault', 'DiskFull', 'InvalidSpec', 'TrainerCrashed']),
    message: z.string(),
    step: count.nullable(),
    details: z.record(z.string(), z.json()),
  }),
  z.strictObject({
    type: z.literal('state'),
    at,
    step: count,
    weightsSha256: sha256.describe('Of the weights that are trained, as `done` takes it of those exported.'),
    optimizerSha256: sha256,
  }),
  z.strictObject({
    type: z.literal('done'),
    at,
    step: count,
    weightsSha256: sha256.nullable().describe('Over tensors in order of name: dtype, shape, bytes. Null for eval.'),
    path: path.describe('The exported Hugging Face folder, the folder of shards, or what a replay ran in.'),
    peakMemoryBytes: count,
    seconds,
  }),
]);
export type TrainerEvent = z.infer<typeof eventSchema>;
export type TrainerPhase = (typeof phases)[number];

/**
 * One line of `history.jsonl`, which every checkpoint carries, so that one curve spans all attempts. The artifact's has
 * no measured times: it is the same whenever the training is done again.
 */
export const historySchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('step'),
    ...learned,
    ...z.strictObject(measured).partial().shape,
    rows: rows.optional(),
  }),
  z.strictObject({ type: z.literal('validation'), step: count, loss: z.number() }),
]);
export type HistoryRecord = z.infer<typeof historySchema>;

/** The newest that this release reads and its trainer writes. */
export const CHECKPOINT_VERSION = 2;

/**
 * `manifest.json` of a checkpoint folder `step-<n>`, written last: present and matching means complete. A later release
 * may add fields that this one can go without; what it cannot raises the version.
 */
export const checkpointManifestSchema = z.object({
  version: z
    .union([z.literal(1), z.literal(CHECKPOINT_VERSION)])
    .describe('2: tensors may be in pieces, as ranks shared them.'),
  identity: z.string(),
  recipe: z.string().optional().describe('That the training began with; the earliest checkpoints lack it.'),
  storedDtype: z
    .enum(['float32', 'bfloat16'])
    .optional()
    .describe("Of the base's weights and so of an export: with it, full recipes go on without the base's weights."),
  step: count,
  validationLoss: z.number().nullable().describe('The newest at or before this step.'),
  files: z.array(z.strictObject({ path, size: count, sha256 })),
});
export type CheckpointManifest = z.infer<typeof checkpointManifestSchema>;
