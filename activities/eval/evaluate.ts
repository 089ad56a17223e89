/** One attempt at an evaluation: answers in shards, each brought to the store when it is done, then grades. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { RunSpec } from '../../contracts/run-spec.ts';
import type { ArtifactRef, EvalSummary } from '../../contracts/stages.ts';
import { type Prediction, predictionSchema, type TrainerEvalSpec } from '../../contracts/trainer.ts';
import { startCap } from '../cap.ts';
import type { Execution, GpuDeps } from '../gpu-deps.ts';
import type { StageContext } from '../stage.ts';
import { EvalShards } from '../store/shards.ts';
import type { ProgressView } from '../trainer/progress.ts';
import { runTrainer } from '../trainer/run-trainer.ts';
import { gradePredictions } from './grading.ts';
import { isGraded, writeEvalArtifact } from './results.ts';

export interface EvalRequest {
  spec: RunSpec;
  filtered: ArtifactRef;
  /** The base model's artifact, or a training's, whose model is in a folder of its own. */
  model: ArtifactRef;
  which: 'base' | 'tuned';
  /** GPU-seconds of the run so far; absent in one begun by an earlier version. */
  gpuSecondsElsewhere?: number;
}

export interface EvalAttempt {
  request: EvalRequest;
  evalKey: string;
  deps: GpuDeps;
  execution: Execution;
  context: StageContext;
  view: ProgressView;
}

export async function evaluate({
  request,
  evalKey,
  deps,
  execution,
  context,
  view,
}: EvalAttempt): Promise<EvalSummary> {
  const { spec, model } = request;
  const cap = startCap({
    policy: spec.policy,
    gpuSeconds: request.gpuSecondsElsewhere ?? 0,
    gpus: deps.gpus,
    signal: context.signal,
    graceSeconds: deps.graceSeconds,
  });
  const transfer = view.counting('bytesRead', context.transfer);
  const [filteredDir, modelDir] = await Promise.all([
    deps.artifacts.fetch(request.filtered, transfer),
    deps.artifacts.fetch(model, transfer),
  ]);
  // Beside the stages' own, whose leftovers are swept.
  const runDir = join(deps.cacheDir, 'scratch', `eval.${execution.attemptPrefix}`);
  const shards = new EvalShards(deps.store, evalKey);
  const kept = await shards.restore(join(runDir, 'shards'), transfer);
  if (kept.length > 0) deps.log.info({ evalKey, shards: kept.length }, 'finished shards kept');
  const uploads: Promise<void>[] = [];
  let seconds = 0;
  try {
    await runTrainer({
      python: deps.python,
      command: 'eval',
      spec: evalSpec(spec, model.stage === 'train' ? join(modelDir, 'model') : modelDir, filteredDir),
      runDir,
      attempt: execution.attemptPrefix,
      cacheDir: deps.cacheDir,
      ranks: 1,
      signal: cap.signal,
      deadlines: spec.policy.phaseDeadlineSeconds,
      graceSeconds: cap.graceSeconds,
      onAlive: () => context.progress(0),
      onEvent: (event) => {
        view.take(event);
        context.progress();
        if (event.type !== 'shard' || event.seconds === 0) return;
        seconds += event.seconds;
        const name = basename(event.path, '.jsonl');
        if (!kept.includes(name))
          uploads.push(
            readFile(event.path)
              .then((bytes) => shards.put(name, bytes))
              .catch((err: unknown) => deps.log.warn({ err, name }, 'shard not uploaded')),
          );
      },
    });
  } catch (error) {
    throw cap.explain(error);
  } finally {
    cap.clear();
    await Promise.all(uploads);
    context.signal.throwIfAborted();
  }
  const predictions = await readPredictions(join(runDir, 'shards'));
  const grades = await gradePredictions({
    python: deps.python,
    predictions: predictions.filter(isGraded),
    timeoutSeconds: spec.eval.gradeTimeoutSeconds,
    signal: context.signal,
    progress: () => context.progress(),
  });
  const summary = await writeEvalArtifact(context.dir, { predictions, grades, generationSeconds: seconds });
  await rm(runDir, { recursive: true, force: true });
  await shards.clear();
  return summary;
}

function evalSpec({ eval: asked, filter }: RunSpec, model: string, filteredDir: string): TrainerEvalSpec {
  return {
    version: 1,
    model,
    data: join(filteredDir, 'validation.parquet'),
    maxSamples: asked.maxSamples,
    promptStyle: asked.promptStyle,
    qualitativePrompts: asked.qualitativePrompts,
    maxPromptTokens: filter.maxTokens - asked.sampler.maxNewTokens,
    shardSize: asked.shardSize,
    sampler: asked.sampler,
    seed: asked.seed,
    recipe: asked.recipe,
    threads: asked.threads,
  };
}

async function readPredictions(folder: string): Promise<Prediction[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return texts
    .flatMap((text) => text.split('\n').filter((line) => line !== ''))
    .map((line) => predictionSchema.parse(JSON.parse(line)));
}
