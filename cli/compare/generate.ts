/** One `dream_trainer generate`: the answer of a model folder to a prompt, as it is revealed. */
import { execa } from 'execa';
import { rejected } from '../../contracts/failures.ts';
import { EXIT_INVALID, type Generation, generationSchema } from '../../contracts/trainer.ts';
import type { FinishedRun } from './finished-run.ts';

export interface GenerateRequest {
  /** For messages: base or tuned. */
  name: string;
  python: string;
  /** Added to the process's environment. */
  env: Record<string, string>;
  /** Hugging Face folder. */
  model: string;
  prompt: string;
  spec: FinishedRun['spec'];
  signal: AbortSignal;
}

/** Ends with the line that is done. Throws InvalidSpec for what the trainer refuses, such as too long a prompt. */
export async function* generate(request: GenerateRequest): AsyncGenerator<Generation, void, undefined> {
  const { name, python, env, signal } = request;
  const trainer = execa(python, ['-m', 'dream_trainer', 'generate', ...argumentsOf(request)], {
    env: { PYTHONUNBUFFERED: '1', PYTHONUTF8: '1', ...env },
    stdin: 'ignore',
    // Lines are read as they come.
    buffer: { stdout: false },
    reject: false,
    cancelSignal: signal,
  });
  let done = false;
  for await (const line of trainer.iterable()) {
    const generation = generationSchema.parse(JSON.parse(String(line)));
    done = 'done' in generation;
    yield generation;
  }
  const { exitCode, stderr, shortMessage } = await trainer;
  signal.throwIfAborted();
  if (exitCode === 0 && done) return;
  const word = String(stderr).trim().split('\n').at(-1) || shortMessage || 'no word';
  if (exitCode === EXIT_INVALID) throw rejected('InvalidSpec', word);
  throw new Error(
    `The ${name} model gave no answer (${word}); expected its text; see that both models fit into memory together, and that \`reverie doctor\` is content.`,
  );
}

function argumentsOf({ model, prompt, spec }: GenerateRequest): string[] {
  const { sampler, seed, recipe, threads } = spec.eval;
  const { systemPrompt } = spec.dataset.mapping;
  const options: [string, string | number | null][] = [
    ['--model', model],
    ['--system', systemPrompt],
    ['--max-new-tokens', sampler.maxNewTokens],
    ['--steps', sampler.steps],
    ['--temperature', sampler.temperature],
    ['--algorithm', sampler.algorithm],
    ['--algorithm-temperature', sampler.algorithmTemperature],
    ['--top-p', sampler.topP],
    ['--top-k', sampler.topK],
    ['--seed', seed],
    ['--recipe', recipe],
    ['--threads', threads],
  ];
  // With =, a value that begins with a dash is no option; after --, neither is the prompt.
  const given = options.flatMap(([option, value]) => (value === null ? [] : [`${option}=${value}`]));
  return [...given, '--stream', '--json', '--', prompt];
}
