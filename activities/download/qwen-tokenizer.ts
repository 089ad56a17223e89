/**
 * Qwen2's fast tokenizer built from `vocab.json` and `merges.txt`, which is all that Dream's repository ships beside
 * Python code that is not run. The trainer and the filter then read one and the same `tokenizer.json`.
 */

/** As in Qwen2's published tokenizer.json. */
const SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** ChatML with Dream's default system prompt: for a model that brings no chat template. */
export const DEFAULT_CHAT_TEMPLATE =
  "{% if messages[0]['role'] != 'system' %}" +
  "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}" +
  '{% endif %}' +
  '{% for message in messages %}' +
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  '{% endfor %}' +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

export interface QwenTokenizerParts {
  vocabulary: Record<string, number>;
  /** Text of merges.txt. */
  merges: string;
  /** `added_tokens_decoder` of tokenizer_config.json: id → token. */
  addedTokensDecoder?: Record<string, Partial<AddedToken> & { content: string }>;
  /** added_tokens.json: text → id; read where the former is missing. All of them then count as special. */
  addedTokens?: Record<string, number>;
}

/** The content of `tokenizer.json`. Throws RangeError when an added token's id could not be its own. */
export function buildQwenTokenizer({ vocabulary, merges, addedTokensDecoder, addedTokens }: QwenTokenizerParts) {
  const added = addedTokensDecoder
    ? Object.entries(addedTokensDecoder).map(([id, token]) => addedToken(Number(id), { special: false, ...token }))
    : Object.entries(addedTokens ?? {}).map(([content, id]) => addedToken(id, { content, special: true }));
  added.sort((a, b) => a.id - b.id);
  mustFollow(vocabulary, added);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'Split', pattern: { Regex: SPLIT }, behavior: 'Isolated', invert: false }, byteLevel],
    },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      vocab: vocabulary,
      merges: mergeLines(merges),
    },
  };
}

function addedToken(id: number, token: Partial<AddedToken> & { content: string; special: boolean }): AddedToken {
  const { content, special, single_word = false, lstrip = false, rstrip = false, normalized = !special } = token;
  return { id, content, single_word, lstrip, rstrip, normalized, special };
}

/**
 * The tokenizers library numbers added tokens itself, from the vocabulary's size on, whatever tokenizer.json says: a
 * gap would shift every later id.
 */
function mustFollow(vocabulary: Record<string, number>, added: readonly AddedToken[]): void {
  let next = Object.keys(vocabulary).length;
  for (const { id, content } of added) {
    const own = Object.hasOwn(vocabulary, content) ? vocabulary[content] : next++;
    if (own !== id) throw new RangeError(`added token ${content} has id ${id}; the vocabulary's order gives it ${own}`);
  }
}

/** A first line `#version: …` is not a merge; `#` alone may begin one. */
function mergeLines(text: string): string[] {
  return text.split(/\r?\n/).filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')));
}
