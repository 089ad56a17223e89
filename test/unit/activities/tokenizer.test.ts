import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { ModelTokenizer } from '../../../activities/tokenizer.ts';
import { dreamTokens, writeDreamTokenizer } from '../../fixtures/dream-tokenizer.ts';
import { python } from '../../fixtures/python.ts';
import { s1kFile } from '../../fixtures/reference.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';
import { tinyConfig, tinyModel } from '../../fixtures/tiny-model.ts';

async function tinyFolder(context: TestContext, changes: Record<string, string> = {}): Promise<string> {
  const folder = await scratchFolder(context);
  for (const [name, content] of Object.entries({ ...tinyModel(), ...changes })) {
    await writeFile(join(folder, name), content);
  }
  return folder;
}

async function dreamFolder(context: TestContext): Promise<string> {
  const folder = await scratchFolder(context);
  await writeDreamTokenizer(folder);
  await writeFile(join(folder, 'config.json'), tinyConfig(dreamTokens));
  return folder;
}

const user = (content: string) => [{ role: 'user', content }];

test('renders ChatML with the default system prompt where the model has no template', async (t) => {
  const tokenizer = await ModelTokenizer.load(await tinyFolder(t));
  assert.equal(
    tokenizer.render(user('Hi')),
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
});

test("renders the model's own template, from settings or from a file, which goes first", async (t) => {
  const settings = {
    ...(JSON.parse(tinyModel()['tokenizer_config.json'] as string) as object),
    chat_template: 'A{{ messages[0].content }}',
  };
  const named = {
    ...settings,
    chat_template: [
      { name: 'tool', template: 'T' },
      { name: 'default', template: 'D{{ eos_token }}' },
    ],
  };
  const rendered = async (changes: Record<string, string>) =>
    (await ModelTokenizer.load(await tinyFolder(t, changes))).render(user('Hi'));
  const inSettings = { 'tokenizer_config.json': JSON.stringify(settings) };
  assert.equal(await rendered(inSettings), 'AHi');
  assert.equal(await rendered({ 'tokenizer_config.json': JSON.stringify(named) }), 'D<|endoftext|>');
  assert.equal(await rendered({ ...inSettings, 'chat_template.jinja': 'B{{ messages[0].content }}' }), 'BHi');
});

test('ends a response with one end-of-text token and adds nothing else', async (t) => {
  const tokenizer = await ModelTokenizer.load(await tinyFolder(t));
  assert.deepEqual(tokenizer.responseIds('ab').slice(-1), [256]);
  assert.equal(tokenizer.responseIds('ab').length, 3);
  assert.equal(tokenizer.encode('').length, 0);
});

test('finds the special tokens that stand in a text', async (t) => {
  const tokenizer = await ModelTokenizer.load(await tinyFolder(t));
  assert.equal(tokenizer.specialText('a <|mask|> b <|endoftext|>'), '<|mask|>');
  assert.equal(tokenizer.specialText('a <|im_start|>'), '<|im_start|>');
  assert.equal(tokenizer.specialText('a < |mask| >'), null);
});

test('refuses a model whose mask token is not in the vocabulary', async (t) => {
  const folder = await tinyFolder(t, { 'config.json': tinyConfig({ mask_token_id: 263 }) });
  await assert.rejects(ModelTokenizer.load(folder), {
    type: 'ModelRejected',
    message:
      "The model's mask_token_id is 263, which is not in the vocabulary of its tokenizer; expected the id of a token; use tokenizer and config.json of one model, or add the token to the tokenizer.",
  });
});

test("gives Dream's special tokens their ids", async (t) => {
  const tokenizer = await ModelTokenizer.load(await dreamFolder(t));
  assert.deepEqual(tokenizer.encode('<|beginoftext|>x<|mask|><|endoftext|>'), [151665, 87, 151666, 151643]);
});

const trainerIds = `
import json, sys
from dream_trainer.config import DreamConfig
from dream_trainer.data import row_tokens
from dream_trainer.tokenizer import Tokenizer
from pathlib import Path
folder = Path(sys.argv[1])
tokenizer = Tokenizer.load(folder, DreamConfig.load(folder))
for line in (folder / "rows.jsonl").read_text(encoding="utf-8").rstrip("\\n").split("\\n"):
    row = json.loads(line)
    print(json.dumps(row_tokens(tokenizer, row["prompt"], row["response"])))
`;

interface Row {
  prompt: { role: string; content: string }[];
  response: string;
}

async function sameIdsAsTheTrainer(folder: string, rows: Row[]): Promise<void> {
  const tokenizer = await ModelTokenizer.load(folder);
  await writeFile(join(folder, 'rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const trainer = join(import.meta.dirname, '..', '..', '..', 'trainer');
  const { stdout } = await promisify(execFile)(python.path, ['-c', trainerIds, folder], {
    cwd: trainer,
    maxBuffer: 1 << 28,
  });
  const theirs = stdout.trimEnd().split('\n');
  assert.equal(theirs.length, rows.length);
  for (const [index, row] of rows.entries()) {
    const ours = [tokenizer.promptIds(row.prompt), tokenizer.responseIds(row.response)];
    assert.deepEqual(ours, JSON.parse(theirs[index] as string), JSON.stringify(row).slice(0, 300));
  }
}

const awkward = [
  '',
  ' ',
  '\u0000\u0001\u007f',
  'a\u0301 é Å \u1100\u1161\u11a8 각 ﬁ',
  "I'LL don'T it's 12345 ½ ² ٣",
  'tab\tnew\r\n\r\n  \u00a0\u3000\u2028x\u0085y\ufeffz',
  '👩‍👩‍👧 🇨🇳 \u{1f642}\u{10ffff}',
  '{{ messages }} {% raw %} <tool_call> <|fim_prefix|> < |mask|',
  '一个数的3倍加上5等于26，这个数是多少？',
  'x'.repeat(3000),
];

test('gives the ids that the trainer gives, for awkward texts', { skip: python.skip }, async (t) => {
  const rows = awkward.map((text) => ({
    prompt: [{ role: 'system', content: text }, ...user(text)],
    response: text,
  }));
  await sameIdsAsTheTrainer(await dreamFolder(t), [...rows, { prompt: user('no system'), response: 'r' }]);
});

const problems = s1kFile('s1k-problems.jsonl');
const absent = existsSync(problems) ? false : `no ${problems}; set REVERIE_REFERENCE`;
test('gives the ids that the trainer gives, for the 1,000 real rows', { skip: python.skip || absent }, async (t) => {
  const lines = (await readFile(problems, 'utf8')).trimEnd().split('\n');
  const rows = lines.map((line) => {
    const { question, solution } = JSON.parse(line) as { question: string; solution: string };
    return { prompt: user(question), response: solution };
  });
  await sameIdsAsTheTrainer(await dreamFolder(t), rows);
});
