/** `reverie compare RUN PROMPT`: a finished run's base and tuned model answer side by side, token by token. */
import { join } from 'node:path';
import { createLogUpdate } from 'log-update';
import { Artifacts } from '../activities/store/artifacts.ts';
import { openStore } from '../activities/store/open-store.ts';
import type { Generation } from '../contracts/trainer.ts';
import { readEnvironment } from '../workers/environment.ts';
import { listGpus } from '../workers/gpus.ts';
import { type Column, printable, sideBySide } from './compare/columns.ts';
import { type FinishedRun, findReport, readFinishedRun } from './compare/finished-run.ts';
import { generate } from './compare/generate.ts';
import { trainerPath } from './trainer-path.ts';

export interface CompareOptions {
  /** Workflow id, or the path of a report. */
  run: string;
  prompt: string;
  /** In place of the spec's. */
  maxNewTokens?: number;
  steps?: number;
  signal: AbortSignal;
  out?: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
}

const names = ['base', 'tuned'] as const;
type Name = (typeof names)[number];

/** Throws InvalidSpec for a run that has no tuned model, and for a prompt that does not fit. */
export async function compare({
  run,
  prompt,
  signal,
  out = process.stdout,
  ...changes
}: CompareOptions): Promise<void> {
  const { storeUrl, cacheDir, python } = readEnvironment();
  const place = await findReport(run);
  const store = openStore(place.storeUrl ?? storeUrl);
  const finished = await readFinishedRun(store, place);
  const models = await fetchModels(new Artifacts(store, cacheDir), finished, signal);
  const spec = withSampler(finished.spec, changes);
  const devices = await deviceOfEach();

  const screen = openScreen(out, prompt);
  // The first failure ends the other model too: half a comparison is none.
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  try {
    const answers = names.map(async (name) => {
      const env = { ...devices[name], ...trainerPath() };
      for await (const said of generate({ name, python, env, model: models[name], prompt, spec, signal: both })) {
        screen.show(name, said);
      }
    });
    await Promise.all(answers).catch(async (error: unknown) => {
      stop.abort();
      await Promise.allSettled(answers);
      signal.throwIfAborted();
      throw error;
    });
  } finally {
    screen.close();
  }
}

async function fetchModels(
  artifacts: Artifacts,
  { artifacts: { model, train } }: FinishedRun,
  signal: AbortSignal,
): Promise<Record<Name, string>> {
  const [base, tuned] = await Promise.all([
    artifacts.fetch(model, { signal }),
    artifacts.fetch(train, { signal }, (path) => path.startsWith('model/')),
  ]);
  return { base, tuned: join(tuned, 'model') };
}

function withSampler(
  spec: FinishedRun['spec'],
  changes: Pick<CompareOptions, 'maxNewTokens' | 'steps'>,
): FinishedRun['spec'] {
  return { ...spec, eval: { ...spec.eval, sampler: { ...spec.eval.sampler, ...changes } } };
}

/** A GPU for each model where there are two; otherwise they share what there is. */
async function deviceOfEach(): Promise<Record<Name, Record<string, string>>> {
  const [first, second] = await listGpus();
  if (first === undefined || second === undefined) return { base: {}, tuned: {} };
  return { base: { CUDA_VISIBLE_DEVICES: first.device }, tuned: { CUDA_VISIBLE_DEVICES: second.device } };
}

interface Screen {
  show(name: Name, said: Generation): void;
  close(): void;
}

/** On a terminal two columns that fill up; in a pipe the final texts alone. */
function openScreen(out: NonNullable<CompareOptions['out']>, prompt: string): Screen {
  const columns: Record<Name, Column> = {
    base: { title: 'base', state: 'loading', text: '' },
    tuned: { title: 'tuned', state: 'loading', text: '' },
  };
  const done = new Set<Name>();
  const live = out.isTTY ? createLogUpdate(out) : null;
  const draw = (): string => sideBySide([columns.base, columns.tuned], out.columns ?? 80, true);
  if (live) {
    out.write(`${printable(prompt)}\n\n`);
    live(draw());
  }
  return {
    show(name, said) {
      Object.assign(columns[name], { text: said.text, state: stateOf(said) });
      if ('done' in said) done.add(name);
      live?.(draw());
    },
    close() {
      // Once more and whole: while it is redrawn, no more than a screenful is shown.
      live?.clear();
      if (live) out.write(`${draw()}\n`);
      else if (done.size === names.length) out.write(plain(prompt, columns));
    },
  };
}

function stateOf(said: Generation): string {
  if ('done' in said)
    return `${said.newTokens} ${said.newTokens === 1 ? 'token' : 'tokens'}${said.ended ? '' : ', cut off'}`;
  return `step ${said.step} of ${said.of}`;
}

function plain(prompt: string, columns: Record<Name, Column>): string {
  const answers = names.map((name) => `\n${name} (${columns[name].state}):\n${printable(columns[name].text)}\n`);
  return `${printable(prompt)}\n${answers.join('')}`;
}
