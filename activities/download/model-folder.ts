/** Completes a saved model folder, so that later stages find tokenizer.json and a chat template in every one. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildTokenizer, readJson, type TokenizerSource } from './model-tokenizer.ts';
import { DEFAULT_CHAT_TEMPLATE } from './qwen-tokenizer.ts';

/** Adds what is missing; files that came are left as they came. */
export async function completeModelFolder(dir: string, label: string): Promise<void> {
  const names = new Set(await readdir(dir));
  const source: TokenizerSource = {
    label,
    has: (path) => names.has(path),
    read: (path) => readFile(join(dir, path)),
  };
  if (!names.has('tokenizer.json')) {
    await writeFile(join(dir, 'tokenizer.json'), `${JSON.stringify(await buildTokenizer(source))}\n`);
  }
  if (!(await hasChatTemplate(source))) await writeFile(join(dir, 'chat_template.jinja'), DEFAULT_CHAT_TEMPLATE);
}

async function hasChatTemplate(source: TokenizerSource): Promise<boolean> {
  if (source.has('chat_template.jinja') || source.has('chat_template.json')) return true;
  if (!source.has('tokenizer_config.json')) return false;
  const settings = (await readJson(source, 'tokenizer_config.json')) as { chat_template?: unknown } | null;
  return Boolean(settings?.chat_template);
}
