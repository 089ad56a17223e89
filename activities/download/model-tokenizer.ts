/** The tokenizer of a model source as `tokenizer.json` holds it, read or built, and its special tokens checked. */
import { buildQwenTokenizer, type QwenTokenizerParts } from './qwen-tokenizer.ts';
import { refuse } from './source-tree.ts';

/** What is needed of a source or folder to read its tokenizer. */
export interface TokenizerSource {
  label: string;
  has(path: string): boolean;
  read(path: string): Promise<Buffer>;
}

/** The parts of tokenizer.json that are looked at here. */
export interface TokenizerJson {
  added_tokens?: { id: number; content: string }[];
  /** Text → id; Unigram lists [text, score] in order of id. */
  model: { type?: string; vocab: Record<string, number> | [string, number][] };
}

export async function readTokenizer(source: TokenizerSource): Promise<TokenizerJson> {
  if (source.has('tokenizer.json')) {
    const tokenizer = (await readJson(source, 'tokenizer.json')) as Partial<TokenizerJson> | null;
    if (typeof tokenizer?.model?.vocab === 'object') return tokenizer as TokenizerJson;
    throw refuse(
      'model',
      `${source.label}, tokenizer.json has no vocabulary at model.vocab; expected a file of the tokenizers library; download it again.`,
    );
  }
  return buildTokenizer(source);
}

/** From vocab.json, merges.txt and the added tokens beside them. */
export async function buildTokenizer(source: TokenizerSource): Promise<ReturnType<typeof buildQwenTokenizer>> {
  const optional = async (path: string): Promise<unknown> => (source.has(path) ? readJson(source, path) : undefined);
  const settings = (await optional('tokenizer_config.json')) as
    | { added_tokens_decoder?: QwenTokenizerParts['addedTokensDecoder'] }
    | undefined;
  const addedTokens = (await optional('added_tokens.json')) as Record<string, number> | undefined;
  const parts: QwenTokenizerParts = {
    vocabulary: (await readJson(source, 'vocab.json')) as Record<string, number>,
    merges: (await source.read('merges.txt')).toString('utf8'),
    ...(settings?.added_tokens_decoder && { addedTokensDecoder: settings.added_tokens_decoder }),
    ...(addedTokens && { addedTokens }),
  };
  try {
    return buildQwenTokenizer(parts);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refuse(
      'model',
      `${source.label}, ${error.message}; expected ids that follow vocab.json without a gap; use vocab.json and tokenizer_config.json of one model.`,
    );
  }
}

/** Id → text, added tokens included. */
export function tokenTexts(tokenizer: TokenizerJson): Map<number, string> {
  const { vocab } = tokenizer.model;
  const texts = new Map<number, string>();
  if (Array.isArray(vocab)) for (const [id, [text]] of vocab.entries()) texts.set(id, text);
  else for (const [text, id] of Object.entries(vocab)) texts.set(id, text);
  for (const { content, id } of tokenizer.added_tokens ?? []) texts.set(id, content);
  return texts;
}

export async function readJson(source: TokenizerSource, path: string): Promise<unknown> {
  try {
    return JSON.parse((await source.read(path)).toString('utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw refuse(
      'model',
      `${source.label}, ${path} is not JSON (${error.message}); expected a JSON object; download it again.`,
    );
  }
}
