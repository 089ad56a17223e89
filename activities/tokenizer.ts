/**
 * A model folder's tokenizer and chat template, giving the ids that the trainer will see: same text, same ids as
 * `dream_trainer.tokenizer`.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import { rejected } from '../contracts/failures.ts';
import { readJson, readTokenizer, type TokenizerSource } from './download/model-tokenizer.ts';
import { DEFAULT_CHAT_TEMPLATE } from './download/qwen-tokenizer.ts';
import type { Message } from './parquet/split-row.ts';

const idFields = ['mask_token_id', 'pad_token_id', 'eos_token_id'] as const;
type IdField = (typeof idFields)[number];

export class ModelTokenizer {
  readonly eosToken: string;
  readonly #fast: Tokenizer;
  readonly #template: Template;
  readonly #variables: Record<string, string | null>;
  readonly #special: RegExp;

  /** `texts` are the special tokens that config.json names by id. */
  constructor(fast: Tokenizer, texts: Record<IdField, string>, chatTemplate: string) {
    this.#fast = fast;
    this.#template = new Template(chatTemplate);
    this.eosToken = texts.eos_token_id;
    this.#variables = {
      eos_token: texts.eos_token_id,
      pad_token: texts.pad_token_id,
      mask_token: texts.mask_token_id,
      tools: null,
    };
    const special = [...fast.get_added_tokens_decoder().values()].filter((token) => token.special);
    // Longest first, so that a token is not taken for another that it begins with.
    const names = [...new Set([...special.map((token) => token.content), ...Object.values(texts)])];
    names.sort((a, b) => b.length - a.length);
    this.#special = new RegExp(names.map(escapeForPattern).join('|'), 'u');
  }

  /** Throws ModelRejected: no tokenizer, or one that lacks a token that config.json names. */
  static async load(folder: string): Promise<ModelTokenizer> {
    const source: TokenizerSource = {
      label: 'The model',
      has: (path) => existsSync(join(folder, path)),
      read: (path) => readFile(join(folder, path)),
    };
    const config = (await readJson(source, 'config.json')) as Partial<Record<IdField, number>>;
    const settings = (source.has('tokenizer_config.json') ? await readJson(source, 'tokenizer_config.json') : {}) as {
      chat_template?: ChatTemplateField;
    };
    // Settings are left out on purpose: the trainer's library takes all that it does from tokenizer.json.
    const fast = new Tokenizer(await readTokenizer(source), {});
    const texts = Object.fromEntries(idFields.map((field) => [field, textOf(fast, field, config[field])]));
    const template = (await chatTemplateFile(source)) ?? chosenTemplate(settings.chat_template);
    return new ModelTokenizer(fast, texts as Record<IdField, string>, template ?? DEFAULT_CHAT_TEMPLATE);
  }

  encode(text: string): number[] {
    return this.#fast.encode(text, { add_special_tokens: false }).ids;
  }

  /** Messages as the text that the model continues. */
  render(messages: readonly Message[]): string {
    return this.#template.render({ ...this.#variables, messages, add_generation_prompt: true });
  }

  promptIds(messages: readonly Message[]): number[] {
    return this.encode(this.render(messages));
  }

  /** The response with its end, tokenised apart from the prompt. */
  responseIds(response: string): number[] {
    return this.encode(response + this.eosToken);
  }

  /** The first special token that stands literally in a text, where it would become that token. */
  specialText(text: string): string | null {
    return this.#special.exec(text)?.[0] ?? null;
  }
}

function textOf(fast: Tokenizer, field: IdField, id: number | undefined): string {
  const text = id === undefined ? undefined : fast.id_to_token(id);
  if (text !== undefined) return text;
  throw rejected(
    'ModelRejected',
    `The model's ${field} is ${id ?? 'missing'}, which is not in the vocabulary of its tokenizer; expected the id of a token; use tokenizer and config.json of one model, or add the token to the tokenizer.`,
  );
}

type ChatTemplateField = string | { name: string; template: string }[];

async function chatTemplateFile(source: TokenizerSource): Promise<string | null> {
  if (source.has('chat_template.jinja')) return (await source.read('chat_template.jinja')).toString('utf8');
  if (!source.has('chat_template.json')) return null;
  const { chat_template: field } = (await readJson(source, 'chat_template.json')) as {
    chat_template?: ChatTemplateField;
  };
  return chosenTemplate(field);
}

/** Several named templates come as a list. */
function chosenTemplate(field: ChatTemplateField | undefined): string | null {
  if (!Array.isArray(field)) return field ?? null;
  return field.find((entry) => entry.name === 'default')?.template ?? null;
}

const escapeForPattern = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
