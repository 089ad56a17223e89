/**
 * What training holds in the memory of each GPU, by kind: a coarse estimate from a model's shape and a run's recipe.
 * Every rank holds all weights, so that more GPUs divide a batch and not this.
 */
import { z } from 'zod';

const positive = z.int().min(1);

/** What decides sizes in a model's config.json, under Hugging Face's names. */
export const modelShapeSchema = z.object({
  vocab_size: positive,
  hidden_size: positive,
  intermediate_size: positive,
  num_hidden_layers: positive,
  num_attention_heads: positive,
  num_key_value_heads: positive.optional(),
  head_dim: positive.optional(),
  tie_word_embeddings: z.boolean().optional(),
});
export type ModelShape = z.infer<typeof modelShapeSchema>;

/** Dream 7B's published shape: the Hub's default models can be planned without reaching it. */
export const DREAM_7B: ModelShape = {
  vocab_size: 152_064,
  hidden_size: 3584,
  intermediate_size: 18_944,
  num_hidden_layers: 28,
  num_attention_heads: 28,
  num_key_value_heads: 4,
};

/** Qwen2.5's blocks: biases on queries, keys and values only, two norms a layer, one at the end. */
export function parameterCount(shape: ModelShape): number {
  const { vocab_size: vocabulary, hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers } = shape;
  const { num_attention_heads: heads, num_key_value_heads: groups = heads, head_dim = hidden / heads } = shape;
  const queries = heads * head_dim;
  const keysOrValues = groups * head_dim;
  const attention = (hidden + 1) * (queries + 2 * keysOrValues) + queries * hidden;
  const layer = attention + 3 * hidden * inner + 2 * hidden;
  return vocabulary * hidden * (shape.tie_word_embeddings ? 1 : 2) + layers * layer + hidden;
}

export interface MemoryRecipe {
  /** fp32 weights, gradients and Adam in both; autocast computes in bf16. */
  recipe: 'fp32' | 'autocast';
  /** Rows of a forward pass on one GPU. */
  microBatchSize: number;
  /** Length of a row. */
  maxTokens: number;
  activationCheckpointing: boolean;
}

/** Bytes on each GPU. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  /** Adam's two moments. */
  optimizer: number;
  /** The weights once more in bf16, which autocast keeps through a pass. */
  castWeights: number;
  activations: number;
  /** The trainer computes the logits of masked tokens only, a chunk at a time. */
  logits: number;
  total: number;
}

const FP32 = 4;
const BF16 = 2;
/** Elements of one chunk of logits, as the trainer cuts them. */
const LOGITS_AT_ONCE = 2 ** 26;
/** Of one logit: as computed, in float32, its log-softmax, its gradient. */
const BYTES_OF_A_LOGIT = 14;
/** Activations of the layer that is computed again, and the gradients that pass through it. */
const RECOMPUTED_LAYERS = 1.5;

export function estimateMemory(shape: ModelShape, recipe: MemoryRecipe): MemoryEstimate {
  const { hidden_size: hidden, num_hidden_layers: layers, vocab_size: vocabulary } = shape;
  const parameters = parameterCount(shape);
  const tokens = recipe.microBatchSize * recipe.maxTokens;
  const autocast = recipe.recipe === 'autocast';
  const layer = tokens * activationBytes(shape, recipe.recipe);
  const parts = {
    weights: FP32 * parameters,
    gradients: FP32 * parameters,
    optimizer: 2 * FP32 * parameters,
    // Embeddings are looked up, not multiplied.
    castWeights: autocast ? BF16 * (parameters - vocabulary * hidden) : 0,
    activations: recipe.activationCheckpointing
      ? layers * tokens * hidden * FP32 + RECOMPUTED_LAYERS * layer
      : layers * layer,
    logits: Math.min(LOGITS_AT_ONCE, tokens * vocabulary) * BYTES_OF_A_LOGIT,
  };
  return { ...parts, total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}

/**
 * Bytes that one layer keeps of one token for its backward pass: the residual stream and both norms in float32, the
 * inputs of the products (a cast for each under autocast), turned queries and keys, attention's output, and SwiGLU's
 * four tensors.
 */
function activationBytes({ hidden_size: hidden, intermediate_size: inner }: ModelShape, recipe: 'fp32' | 'autocast') {
  return recipe === 'autocast' ? 41 * hidden + 4 * BF16 * inner : 44 * hidden + 4 * FP32 * inner;
}

const GIB = 2 ** 30;
/** CUDA's context, libraries, and what the allocator cannot use. */
const RESERVED_BYTES = 2 * GIB;

export const fits = (estimate: MemoryEstimate, gpuMemoryGib: number): boolean =>
  estimate.total + RESERVED_BYTES <= gpuMemoryGib * GIB;

/** Smallest GPU, in whole GiB, that holds the estimate. */
export const neededGib = (estimate: MemoryEstimate): number => Math.ceil((estimate.total + RESERVED_BYTES) / GIB);

/**
 * The nearest recipe that fits: smaller micro-batches first, which change nothing that is learned, then recomputed
 * activations, then shorter rows. Null where none does.
 */
export function nearestFit(shape: ModelShape, wanted: MemoryRecipe, gpuMemoryGib: number): MemoryRecipe | null {
  for (const maxTokens of lengths(wanted.maxTokens)) {
    for (const activationCheckpointing of new Set([wanted.activationCheckpointing, true])) {
      for (const microBatchSize of divisors(wanted.microBatchSize)) {
        const candidate = { ...wanted, maxTokens, activationCheckpointing, microBatchSize };
        if (fits(estimateMemory(shape, candidate), gpuMemoryGib)) return candidate;
      }
    }
  }
  return null;
}

/** A row is cut twice at most: shorter ones no longer hold an answer. */
const lengths = (maxTokens: number): number[] =>
  [1, 2, 4].map((cut) => Math.floor(maxTokens / cut)).filter((tokens) => tokens > 0);

/** Largest first; a divisor of the micro-batch divides the global batch too. */
const divisors = (number: number): number[] =>
  Array.from({ length: number }, (_, index) => number - index).filter((divisor) => number % divisor === 0);
