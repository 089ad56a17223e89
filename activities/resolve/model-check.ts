/** Checks that a model source is one this trainer can train, before a byte of its weights moves. */
import { z } from 'zod';
import { readJson, readTokenizer, type TokenizerSource, tokenTexts } from '../download/model-tokenizer.ts';
import type { SourceFile, SourceTree } from '../download/source-tree.ts';
import { refuse } from '../download/source-tree.ts';

const POSITIVE = 'a whole number of at least 1';
const positive = z.int({ error: POSITIVE }).min(1, { error: POSITIVE });
const tokenId = z.int({ error: 'a token id' }).min(0, { error: 'a token id of at least 0' });
const above0 = z.number({ error: 'a number above 0' }).positive({ error: 'a number above 0' });
const only = <T extends string | number | boolean | null>(value: T) =>
  z.literal(value, { error: `${JSON.stringify(value)}, the only value that the trainer implements` });

/** What the trainer needs of config.json; other fields pass. */
const configSchema = z.looseObject({
  model_type: z.literal('Dream', { error: '"Dream"' }),
  vocab_size: positive,
  hidden_size: positive,
  intermediate_size: positive,
  num_hidden_layers: positive,
  num_attention_heads: positive,
  num_key_value_heads: positive.optional(),
  head_dim: positive.optional(),
  max_position_embeddings: positive,
  rms_norm_eps: above0.optional(),
  rope_theta: above0.optional(),
  hidden_act: only('silu').optional(),
  rope_scaling: only(null).optional(),
  use_sliding_window: only(false).optional(),
  attention_dropout: only(0).optional(),
  mask_token_id: tokenId,
  pad_token_id: tokenId,
  eos_token_id: tokenId,
});
type ModelConfig = z.infer<typeof configSchema>;

const REMEDY = 'use a Dream model, or mend its config.json';
const SPECIAL_FIELDS = ['mask_token_id', 'pad_token_id', 'eos_token_id'] as const;

export interface CheckedModel {
  /** Text of the mask token. */
  maskToken: string;
  /** Tokens of the longest row that it can see. */
  contextTokens: number;
}

/** Throws ModelRejected with every problem of config.json, or the first of tokenizer or weights. */
export async function checkModel(tree: SourceTree, files: readonly SourceFile[]): Promise<CheckedModel> {
  const names = new Set(files.map((file) => file.path));
  const source: TokenizerSource = {
    label: tree.label,
    has: (path) => names.has(path),
    read: (path) => tree.read(path),
  };
  const config = await readConfig(source);
  const maskToken = await checkTokenizer(source, config);
  for (const file of files) {
    if (!file.path.endsWith('.safetensors')) continue;
    // The Hub's files are hashed as they come; all that could be wrong now is that they may not be read.
    if (tree.type === 'hub') {
      await tree.checkAccess(file);
      break;
    }
    await checkSafetensors(tree, file);
  }
  return { maskToken, contextTokens: config.max_position_embeddings };
}

async function readConfig(source: TokenizerSource): Promise<ModelConfig> {
  const fields = await readJson(source, 'config.json');
  if (fields === null || typeof fields !== 'object' || Array.isArray(fields)) {
    throw refuse('model', `${source.label}, config.json holds no object; expected one; download it again.`);
  }
  const parsed = configSchema.safeParse(fields);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => {
      const name = String(issue.path[0]);
      return wrong(source, name, (fields as Record<string, unknown>)[name], issue.message);
    });
    throw refuse('model', ...problems);
  }
  const config = parsed.data;
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups = heads } = config;
  const { head_dim: headDim = hidden / heads } = config;
  if (!Number.isInteger(headDim)) {
    throw refuse('model', wrong(source, 'hidden_size', hidden, `a multiple of num_attention_heads ${heads}`));
  }
  if (headDim % 2 !== 0) {
    throw refuse('model', wrong(source, 'head_dim', headDim, 'an even number, as rotary embeddings turn pairs'));
  }
  if (heads % groups !== 0) {
    throw refuse('model', wrong(source, 'num_key_value_heads', groups, `a divisor of num_attention_heads ${heads}`));
  }
  return config;
}

/** The text of the mask token. */
async function checkTokenizer(source: TokenizerSource, config: ModelConfig): Promise<string> {
  const texts = tokenTexts(await readTokenizer(source));
  for (const field of SPECIAL_FIELDS) {
    if (!texts.has(config[field])) {
      throw refuse(
        'model',
        `${source.label}, ${field} ${config[field]} of config.json is not among the tokenizer's ${texts.size} tokens; expected the id of ${field === 'mask_token_id' ? 'the mask token' : 'a token'}; use tokenizer and config.json of one model, or add the token to the tokenizer.`,
      );
    }
    if (config[field] >= config.vocab_size) {
      throw refuse('model', wrong(source, field, config[field], `an id below vocab_size ${config.vocab_size}`));
    }
  }
  let highest = -1;
  for (const id of texts.keys()) highest = Math.max(highest, id);
  if (highest >= config.vocab_size) {
    throw refuse(
      'model',
      wrong(source, 'vocab_size', config.vocab_size, `more than ${highest}, the tokenizer's highest id`),
    );
  }
  return texts.get(config.mask_token_id) as string;
}

/** Length of the header (8 bytes, little-endian), the header in JSON, then the tensors' bytes up to the end. */
async function checkSafetensors(tree: SourceTree, { path, size }: SourceFile): Promise<void> {
  const damaged = (came: string): Error =>
    refuse(
      'model',
      `${tree.label}, file ${path} ${came}; expected a whole safetensors file; copy or download it again.`,
    );
  const lengthBytes = await tree.readRange(path, 0, 8);
  const headerBytes = lengthBytes.length === 8 ? Number(lengthBytes.readBigUInt64LE(0)) : Number.NaN;
  if (!(headerBytes >= 2 && headerBytes <= size - 8)) throw damaged(`has no safetensors header in its ${size} bytes`);
  let tensors: Record<string, { data_offsets?: [number, number] }>;
  try {
    tensors = JSON.parse((await tree.readRange(path, 8, 8 + headerBytes)).toString('utf8')) as typeof tensors;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw damaged('has a header that is not JSON');
  }
  const end = Object.values(tensors).reduce((most, tensor) => Math.max(most, tensor.data_offsets?.[1] ?? 0), 0);
  const expected = 8 + headerBytes + end;
  if (expected !== size) throw damaged(`has ${size} bytes where its header tells of ${expected}`);
}

function wrong(source: TokenizerSource, field: string, found: unknown, expected: string): string {
  const came = found === undefined ? 'is missing' : `is ${JSON.stringify(found)}`;
  return `${source.label}, config.json field ${field} ${came}; expected ${expected}; ${REMEDY}.`;
}
