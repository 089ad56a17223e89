/**
 * The run spec: all that a person states about a run, with a default, a unit and a meaning for every field. `{}` is
 * the walkthrough's recipe for Dream 7B and s1K, meant well. This schema holds at every edge (CLI, workflow, updates).
 */
import { z } from 'zod';
import { NOTIFY_SECRET_PREFIX, notificationEvents } from './notification.ts';
import { loraSchema, objectiveSchema, optimizerSchema, recipes, samplerSchema } from './trainer.ts';

const positive = z.int().min(1);
const source = z.string().min(1);

/** The walkthrough's system prompt, which training and evaluation both use. */
export const SYSTEM_PROMPT = 'You are a helpful AI assistant. Think step by step and provide detailed reasoning.';

/** The walkthrough's three qualitative prompts, kept in its language. */
export const QUALITATIVE_PROMPTS = [
  '一个数的3倍加上5等于26，这个数是多少？',
  '解释为什么2+2=4',
  '写一个Python函数来计算斐波那契数列的第n项',
];

const modelSchema = z.strictObject({
  source: source
    .default('hf://Dream-org/Dream-v0-Base-7B')
    .describe('Model to start from: hf://owner/name, file:///folder, or a folder on the CPU worker.'),
  revision: z
    .string()
    .min(1)
    .default('main')
    .describe(
      'Branch, tag or commit of the Hub repository; pinned to a commit when the run starts. Ignored for folders.',
    ),
});

export const mappingPresets = ['s1k-1.1', 's1k', 'generic'] as const;

const mappingSchema = z.strictObject({
  preset: z
    .enum(mappingPresets)
    .default('s1k-1.1')
    .describe(
      "Where the fields below come from when they are null: s1k-1.1 (question, deepseek_attempt, deepseek_thinking_trajectory, solution), s1k (question, attempt, thinking_trajectories, solution), or generic, the walkthrough's names (question or prompt, answer or response, thinking, answer).",
    ),
  question: z.string().min(1).nullable().default(null).describe('Column of the question.'),
  response: z.string().min(1).nullable().default(null).describe('Column of the response that is learned.'),
  trace: z.string().min(1).nullable().default(null).describe('Column of the reasoning trace.'),
  reference: z.string().min(1).nullable().default(null).describe('Column of the reference answer that grading uses.'),
  source: z.string().min(1).nullable().default(null).describe('Column of the source of a row, for the profile.'),
  id: z.string().min(1).nullable().default(null).describe('Column of the row id; null numbers the rows from 0.'),
  includeTrace: z
    .enum(['none', 'think-tags', 'plain'])
    .default('none')
    .describe(
      'Whether the trace goes before the response: not at all, as <think>…</think>, or as it is, with an empty line between.',
    ),
  systemPrompt: z
    .string()
    .nullable()
    .default(SYSTEM_PROMPT)
    .describe('System message of every row; null leaves it out.'),
});

const datasetSchema = z.strictObject({
  source: source
    .default('hf://simplescaling/s1K-1.1')
    .describe(
      'Data set: hf://owner/name, file:///path, or a file or folder on the CPU worker. JSONL (plain or gzip), JSON and Parquet are read.',
    ),
  revision: z
    .string()
    .min(1)
    .default('main')
    .describe(
      'Branch, tag or commit of the Hub repository; pinned to a commit when the run starts. Ignored for files.',
    ),
  split: z
    .string()
    .min(1)
    .default('train')
    .describe(
      "Which of the repository's files are read: those whose name begins with this split, or all where none does.",
    ),
  mapping: mappingSchema.prefault({}).describe('How a row becomes prompt, response and reference.'),
  validationFraction: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.1)
    .describe("Share of the rows held out; rounded up, as the walkthrough's train_test_split does."),
  splitSeed: z.int().min(0).default(42).describe('Seed of that split.'),
});

const filterSchema = z.strictObject({
  maxTokens: positive
    .max(131072)
    .default(2048)
    .describe(
      'Longest training row in tokens: prompt through the chat template, response and end. Longer rows are rejected by name. A validation question stays however long its reference is.',
    ),
  thresholds: z
    .array(positive)
    .max(8)
    .default([1024, 2048])
    .describe('Lengths in tokens whose exceeding rows are counted in the histogram.'),
});

const trainSchema = z.strictObject({
  queue: z
    .string()
    .min(1)
    .default('reverie-gpu')
    .describe('Task queue of the class of hosts that trains and evaluates.'),
  backend: z.enum(['dream']).default('dream').describe('The trainer.'),
  epochs: positive.default(3).describe('Times each row is seen.'),
  maxSteps: positive
    .nullable()
    .default(null)
    .describe('End after this many optimizer steps though epochs remain; the schedule follows it.'),
  globalBatchSize: positive
    .default(16)
    .describe(
      "Rows of one optimizer step over all GPUs (16 is s1's own; the public trainer's 256 makes 9 steps of s1K).",
    ),
  microBatchSize: positive
    .default(4)
    .describe('Rows of one forward pass of one GPU. Changes memory and speed, not what is learned.'),
  activationCheckpointing: z
    .boolean()
    .default(true)
    .describe('Recompute activations in the backward pass to save memory.'),
  activationBudget: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe(
      'Share of its activations that a compiled block keeps where activationCheckpointing is on: 0 recomputes all, 1 none. A block that is not compiled keeps none.',
    ),
  compile: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe(
      'Compile the blocks, which changes rounding as a recipe does; auto compiles on CUDA from a billion parameters on.',
    ),
  sharding: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe(
      'Divide weights, gradients and moments among the GPUs of a host (FSDP2) instead of holding all on each. Changes memory and speed, not what is learned; checkpoints go on either way, on any number of GPUs. auto does where a GPU cannot hold them whole; with recipe auto, before it falls back on adapters.',
    ),
  recipe: z
    .enum(['auto', ...recipes])
    .default('auto')
    .describe(
      'Numerics: fp32 throughout; full-fp32, fp32 weights and moments under bf16 autocast; full-bf16-sr, bf16 weights with stochastic rounding and bf16 moments; full-bf16-sr-8bit, the same with 8-bit moments; lora, adapters on a bf16 base. auto takes fp32 on a CPU, and on a GPU the first of the others that fits into its memory (see sharding); a training begun keeps its recipe.',
    ),
  lora: loraSchema
    .prefault({})
    .describe('Adapters of the recipe lora, on all linear maps of the blocks; it wants a higher learning rate.'),
  seed: z.int().min(0).default(42).describe('Seed of data order, noise and cutoffs.'),
  threads: positive
    .nullable()
    .default(null)
    .describe('CPU threads of a rank (part of the numerics on a CPU); null is 1.'),
  objective: objectiveSchema.prefault({}).describe('The diffusion objective.'),
  optimizer: optimizerSchema.prefault({}).describe('AdamW and its schedule.'),
  validateEverySteps: positive
    .nullable()
    .default(null)
    .describe('Steps between measurements of the validation loss; null measures at the end of each epoch.'),
  checkpointEverySteps: positive
    .nullable()
    .default(null)
    .describe(
      'Steps between checkpoints; null follows Young–Daly from the measured cost of a save and policy.expectedSecondsBetweenPreemptions.',
    ),
  spikeFactor: z
    .number()
    .gt(1)
    .nullable()
    .default(20)
    .describe(
      'A loss this many robust deviations (median, MAD) above the last 32 counts as divergence; null looks only for NaN and infinity.',
    ),
  trackers: z
    .array(z.enum(['tensorboard', 'wandb']))
    .default(['tensorboard'])
    .describe('Where the curve goes, beside the report; a tracker that is down never stops training.'),
  trackerProject: z.string().min(1).max(128).default('dream-s1k-sft').describe('Project of the run in W&B.'),
  trackerRun: z
    .string()
    .min(1)
    .max(128)
    .nullable()
    .default(null)
    .describe('Name of the run in W&B; null is s1k-DATE-TIME, of the first attempt.'),
});

const evalSchema = z.strictObject({
  maxSamples: positive.nullable().default(null).describe('Validation questions answered, from the first; null is all.'),
  shardSize: positive
    .max(1024)
    .default(8)
    .describe('Questions generated together; a shard is finished whole or done again.'),
  promptStyle: z
    .enum(['as-trained', 'last-user-message'])
    .default('as-trained')
    .describe('The prompt as in training, or the last user message alone as in the walkthrough.'),
  sampler: samplerSchema.prefault({}).describe('How text is generated.'),
  seed: z.int().min(0).default(0).describe('Seed of the sampler.'),
  recipe: z
    .enum(['auto', 'fp32', 'bf16'])
    .default('auto')
    .describe('Numerics of generation: auto takes bf16 on CUDA and fp32 on a CPU.'),
  threads: positive.nullable().default(null).describe('CPU threads; null is 1.'),
  qualitativePrompts: z
    .array(z.string().min(1))
    .max(16)
    .default(QUALITATIVE_PROMPTS)
    .describe('Questions answered by base and tuned model for the side-by-side comparison.'),
  gradeTimeoutSeconds: z
    .number()
    .gt(0)
    .max(300)
    .default(5)
    .describe('Longest time for grading one answer; past it the answer is ungradable.'),
});

const promoteSchema = z.strictObject({
  enabled: z.boolean().default(false).describe('Whether a better model becomes the champion.'),
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/)
    .default('default')
    .describe("Name of the champion's line."),
  minGainPoints: z
    .number()
    .default(0)
    .describe('The lower bound of the gain over base (95 %, in points) must lie above this.'),
});

const reportSchema = z.strictObject({
  language: z.enum(['en', 'zh']).default('en').describe('Language of the report.'),
  title: z.string().min(1).nullable().default(null).describe('Title; null names model and data.'),
});

const notifySchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe('Webhook that is told by POST; null tells nobody. It is part of the history: no secret belongs into it.'),
  secretVariable: z
    .string()
    .regex(new RegExp(`^${NOTIFY_SECRET_PREFIX}[A-Z0-9_]{1,64}$`))
    .default(`${NOTIFY_SECRET_PREFIX}SECRET`)
    .describe(
      "Name of the CPU workers' environment variable that holds the secret which signs, by the Standard Webhooks specification.",
    ),
  events: z
    .array(z.enum(notificationEvents))
    .default([...notificationEvents])
    .describe('What is told; failed stands for every other end too: expired, aborted, cancelled.'),
  giveUpSeconds: z
    .number()
    .min(1)
    .max(86400)
    .default(300)
    .describe("Longest time for one notification, all tries included; the run's end waits for its last one."),
});

const budget = z.int().min(0).max(100);
const policySchema = z.strictObject({
  priority: z.int().min(1).max(5).default(3).describe('Priority on the GPU queue; 1 goes first.'),
  fairnessKey: z
    .string()
    .max(64)
    .nullable()
    .default(null)
    .describe("Share of the GPU queue this run belongs to, such as a team's name."),
  maxGpuHours: z
    .number()
    .gt(0)
    .nullable()
    .default(null)
    .describe(
      'Most GPU-hours of this run, training and evaluation together; past them it saves a checkpoint and parks. Null is no cap.',
    ),
  gpuHourPrice: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe('Price of one GPU-hour, for the cost that status and report tell; null tells hours alone.'),
  currency: z.string().min(1).max(8).default('USD').describe('Currency of that price.'),
  parkDeadlineHours: z
    .number()
    .gt(0)
    .max(8760)
    .default(72)
    .describe('How long a parked run waits for a person before it expires; its checkpoints stay.'),
  expectedSecondsBetweenPreemptions: z.number().min(10).default(14400).describe('For the checkpoint cadence.'),
  minCheckpointSeconds: z.number().min(0).default(30).describe('Floor of the checkpoint cadence.'),
  maxCheckpointSeconds: z.number().min(1).default(1800).describe('Ceiling of the checkpoint cadence.'),
  heartbeatTimeoutSeconds: z
    .number()
    .min(2)
    .max(600)
    .default(60)
    .describe('Silence after which a worker counts as lost.'),
  phaseDeadlineSeconds: z
    .strictObject({
      start: z.number().gt(0).default(300).describe('From launch to the first event.'),
      load: z.number().gt(0).default(1800).describe('Model, checkpoint and data.'),
      compile: z.number().gt(0).default(1800).describe('Compilation.'),
      train: z.number().gt(0).default(900).describe('One step.'),
      save: z.number().gt(0).default(1800).describe('One save.'),
      validation: z.number().gt(0).default(3600).describe('One measurement of the validation loss.'),
      generate: z.number().gt(0).default(3600).describe('One shard.'),
      export: z.number().gt(0).default(1800).describe('Writing the model.'),
    })
    .prefault({})
    .describe('Longest time without progress in each phase of the trainer; past it the trainer hangs.'),
  notify: notifySchema.prefault({}).describe('Whom a run tells how it goes.'),
  maxHangs: budget.default(3).describe('TrainerHung failures tried again before the run parks.'),
  maxHardwareFaults: budget.default(3).describe('HardwareFault failures tried again before the run parks.'),
  maxDivergences: budget.default(2).describe('Divergences rolled back before the run parks.'),
  maxCrashes: budget.default(2).describe('TrainerCrashed failures tried again before the run parks.'),
  maxStoreFailures: budget
    .default(20)
    .describe('StoreUnavailable and DiskFull failures tried again before the run parks.'),
});

export const runSpecSchema = z.strictObject({
  model: modelSchema.prefault({}).describe('The base model.'),
  dataset: datasetSchema.prefault({}).describe('The data and how it is read.'),
  filter: filterSchema.prefault({}).describe('Which rows are kept.'),
  train: trainSchema.prefault({}).describe('Supervised fine-tuning.'),
  eval: evalSchema.prefault({}).describe('Generation and grading on the validation split.'),
  promote: promoteSchema.prefault({}).describe('Promotion of the tuned model.'),
  report: reportSchema.prefault({}).describe('The report.'),
  policy: policySchema.prefault({}).describe('What the run may cost and how it waits.'),
});

export type RunSpec = z.infer<typeof runSpecSchema>;
export type RunSpecInput = z.input<typeof runSpecSchema>;

/** The same fields, each free to be left out and none filled in: `.partial()` would put the defaults back. */
function changesTo(schema: z.ZodObject): z.ZodObject {
  const fields = Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, field]) => {
    const given =
      field instanceof z.ZodDefault || field instanceof z.ZodPrefault ? (field.unwrap() as z.ZodType) : field;
    return [name, (given instanceof z.ZodObject ? changesTo(given) : given).optional()] as const;
  });
  return z.strictObject(Object.fromEntries(fields));
}

/** What `resume` may change: the train, eval and policy parts, any subset of their fields, as deep as they go. */
export const changesSchema = z.strictObject({
  train: changesTo(trainSchema).optional(),
  eval: changesTo(evalSchema).optional(),
  policy: changesTo(policySchema).optional(),
});
