/** Chooses which files of a source are the model: configuration, safetensors, tokenizer. Never code, never a pickle. */
import { listing } from './dataset-files.ts';
import { refuse, type SourceFile, type SourceTree } from './source-tree.ts';

const INDEX = 'model.safetensors.index.json';
const SINGLE = 'model.safetensors';
const PICKLED = /\.(bin|pt|pth|ckpt)$/;
const OPTIONAL = [
  'generation_config.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'README.md',
  'LICENSE',
];

/** Throws ModelRejected for a source that is not a whole model. */
export async function selectModelFiles(tree: SourceTree): Promise<SourceFile[]> {
  const byPath = new Map(tree.files.map((file) => [file.path, file]));
  if (!byPath.has('config.json')) {
    throw refuse(
      'model',
      `${tree.label} has no config.json (${listing(tree.files)}); expected a Hugging Face model folder; correct model.source, or download the model again.`,
    );
  }
  const tokenizer = tokenizerFiles(tree);
  const names = new Set(['config.json', ...(await weightFiles(tree, byPath)), ...tokenizer, ...OPTIONAL]);
  const selected = [...names].flatMap((name) => byPath.get(name) ?? []);
  const empty = selected.filter((file) => file.size === 0);
  if (empty.length > 0) {
    throw refuse(
      'model',
      `${tree.label}, file ${empty.map((file) => file.path).join(', ')} is empty (0 bytes); expected its content; download the model again.`,
    );
  }
  return selected.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function tokenizerFiles(tree: SourceTree): string[] {
  const has = (name: string): boolean => tree.files.some((file) => file.path === name);
  const pair = ['vocab.json', 'merges.txt'];
  const found = ['tokenizer.json', ...pair].filter(has);
  if (found.includes('tokenizer.json') || pair.every(has)) return found;
  throw refuse(
    'model',
    `${tree.label} has no tokenizer (${found.length > 0 ? `only ${found.join(', ')}` : listing(tree.files)}); expected tokenizer.json, or vocab.json and merges.txt; add those of the model.`,
  );
}

async function weightFiles(tree: SourceTree, byPath: ReadonlyMap<string, SourceFile>): Promise<string[]> {
  if (byPath.has(INDEX)) {
    const shards = await shardsOf(tree);
    const missing = shards.filter((shard) => !byPath.has(shard));
    if (missing.length > 0) {
      throw refuse(
        'model',
        `${tree.label} lacks ${missing.length} of ${shards.length} shards: ${missing.join(', ')}; expected every file that ${INDEX} names; download the missing ones.`,
      );
    }
    return [INDEX, ...shards];
  }
  if (byPath.has(SINGLE)) return [SINGLE];
  const pickled = tree.files.filter((file) => PICKLED.test(file.path));
  if (pickled.length > 0) {
    throw refuse(
      'model',
      `${tree.label} has only pickled weights (${listing(pickled)}), and a pickle can run code; expected ${SINGLE}, or ${INDEX} with its shards; convert it where you trust it: load it with transformers and call save_pretrained(folder, safe_serialization=True).`,
    );
  }
  throw refuse(
    'model',
    `${tree.label} has no weights (${listing(tree.files)}); expected ${SINGLE}, or ${INDEX} with its shards; download the model again.`,
  );
}

async function shardsOf(tree: SourceTree): Promise<string[]> {
  try {
    const index = JSON.parse((await tree.read(INDEX)).toString('utf8')) as { weight_map?: Record<string, unknown> };
    const shards = [...new Set(Object.values(index.weight_map ?? {}))];
    if (shards.length > 0 && shards.every((shard) => typeof shard === 'string')) return shards.sort();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw refuse(
    'model',
    `${tree.label}, ${INDEX} names no shards; expected JSON with a weight_map from tensor to file; download it again.`,
  );
}
