/** One run under fire: its spec, its attempts as they go, and how it ends. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { stepOf } from '../../activities/store/checkpoint-folder.ts';
import { Checkpoints } from '../../activities/store/checkpoints.ts';
import { startRun } from '../../cli/start.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import type { Host, House } from './house.ts';
import type { Random } from './random.ts';
import { HEARTBEAT_SECONDS, TooLate } from './scenario.ts';
import { type Attempt, Watch } from './watch.ts';

export const STEPS = 120;
export const CHECKPOINT_EVERY = 4;
/** What a fault leaves of the training, so that there is something to recover. */
const LAST_STEPS = 12;
const RUN_MS = 300_000;
const ASK_MS = 100;

const root = join(import.meta.dirname, '..', '..');

export const spec: RunSpecInput = {
  model: { source: join(root, 'infra/demo/base') },
  dataset: { source: join(root, 'infra/demo/data/s1k-style.jsonl.gz') },
  filter: { maxTokens: 96 },
  train: {
    globalBatchSize: 4,
    microBatchSize: 4,
    maxSteps: STEPS,
    checkpointEverySteps: CHECKPOINT_EVERY,
    validateEverySteps: 12,
    activationCheckpointing: false,
    optimizer: { learningRate: 1e-4 },
  },
  eval: { maxSamples: 2, shardSize: 2, sampler: { maxNewTokens: 8, steps: 2 }, qualitativePrompts: [] },
  policy: { heartbeatTimeoutSeconds: HEARTBEAT_SECONDS },
};

export interface Outcome {
  result: RunResult;
  /** The trained model's file. */
  model: Uint8Array;
  attempts: readonly Attempt[];
}

export class Training {
  readonly house: House;
  readonly random: Random;
  readonly handle: WorkflowHandle;
  readonly watch: Watch;
  readonly #steps: number;

  private constructor(house: House, random: Random, handle: WorkflowHandle, steps: number) {
    this.house = house;
    this.random = random;
    this.handle = handle;
    this.watch = new Watch(house.hosts);
    this.#steps = steps;
  }

  static async start(house: House, random: Random, workflowId: string, given: RunSpecInput = spec): Promise<Training> {
    const handle = await startRun({ client: house.client, workflowId, spec: given });
    return new Training(house, random, handle, given.train?.maxSteps ?? STEPS);
  }

  /** The attempt at work, once it has saved `checkpoints` of its own: then a fault costs no progress that was made. */
  async ripe(checkpoints: number): Promise<Attempt> {
    for (;;) {
      const attempt = this.watch.attempts.at(-1);
      if (attempt && attempt.step > this.#steps - LAST_STEPS) throw new TooLate();
      if (attempt && attempt.checkpoints.length >= checkpoints) return attempt;
      await this.pause();
    }
  }

  /** For loops that wait: throws TooLate when the run has nothing more to train. */
  async pause(milliseconds = ASK_MS): Promise<void> {
    await sleep(milliseconds);
    const attempt = this.watch.attempts.at(-1);
    if (attempt?.events.some(({ type }) => type === 'done')) throw new TooLate();
  }

  hostOf(attempt: Attempt): Host {
    const host = this.house.hosts.get(attempt.host);
    if (host === undefined) throw new Error(`${attempt.host} is gone; expected it at work`);
    return host;
  }

  /** Steps of the checkpoints that are whole on the host of an attempt, newest first. */
  async localSteps(attempt: Attempt): Promise<number[]> {
    const folders = [join(attempt.folder, 'checkpoints'), join(attempt.folder, 'resume')];
    const names = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
    const steps = names.flat().flatMap((name) => stepOf(name) ?? []);
    return [...new Set(steps)].sort((a, b) => b - a);
  }

  /** Steps of the checkpoints that the store has whole, newest first. */
  async storedSteps({ trainKey }: Attempt): Promise<number[]> {
    return (await new Checkpoints(this.house.store, trainKey).list()).map(({ step }) => step);
  }

  /** However often the server is away meanwhile. */
  async finish(): Promise<Outcome> {
    const giveUpMs = Date.now() + RUN_MS;
    for (;;) {
      const state = await this.handle.describe().catch(() => null);
      if (state !== null && state.status.name !== 'RUNNING') break;
      if (Date.now() > giveUpMs) throw new Error(`run ${this.handle.workflowId} was not over in ${RUN_MS / 1000} s`);
      await sleep(ASK_MS);
    }
    const result = (await this.handle.result()) as RunResult;
    await this.watch.stop();
    const trainKey = this.watch.attempts.at(-1)?.trainKey ?? '';
    const model = await this.house.store.get(`artifacts/train/${trainKey}/model/model.safetensors`);
    if (model === null) throw new Error(`no trained model of ${trainKey} in ${this.house.store.url}`);
    return { result, model, attempts: this.watch.attempts };
  }

  /** For a run that a fault has broken. */
  async abandon(): Promise<void> {
    await this.handle.terminate('a fault was not recovered from').catch(() => {});
    await this.watch.stop();
  }
}
