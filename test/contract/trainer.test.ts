/** The trainer's JSON, read from this side: every line that real runs of it write is what the contracts say. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import type { z } from 'zod';
import { root } from '../../cli/setup/paths.mjs';
import * as contract from '../../contracts/trainer.ts';
import { python } from '../fixtures/python.ts';
import { scratchFolder } from '../fixtures/scratch.ts';

const trainer = join(root, 'trainer');

/** 10 rows for training and 3 for validation, and a random model that reads bytes. */
async function makeInputs(context: TestContext): Promise<string> {
  const folder = await scratchFolder(context);
  const script = 'import sys, pathlib; from tests.tiny import make_inputs; make_inputs(pathlib.Path(sys.argv[1]))';
  await execa(python.path, ['-c', script, folder], { cwd: trainer });
  return folder;
}

async function runTrainer(command: 'train' | 'eval', folder: string, spec: object): Promise<string> {
  const runDir = join(folder, command);
  await mkdir(runDir);
  await writeFile(join(runDir, 'spec.json'), JSON.stringify(spec));
  const args = ['-m', 'dream_trainer', command, '--spec', join(runDir, 'spec.json'), '--run-dir', runDir];
  await execa(python.path, args, { cwd: trainer });
  return runDir;
}

async function linesOf<S extends z.ZodType>(file: string, schema: S): Promise<z.infer<S>[]> {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => schema.parse(JSON.parse(line)));
}

test('a training run writes events, history and checkpoints as the contract says', { skip: python.skip }, async (t) => {
  const folder = await makeInputs(t);
  const spec = contract.trainSpecSchema.parse({
    version: 1,
    identity: 'contract',
    model: join(folder, 'base'),
    trainData: join(folder, 'train.parquet'),
    validationData: join(folder, 'validation.parquet'),
    maxTokens: 96,
    seed: 7,
    epochs: 2,
    maxSteps: null,
    globalBatchSize: 4,
    microBatchSize: 4,
    activationCheckpointing: false,
    activationBudget: 1,
    compile: 'auto',
    sharding: 'auto',
    recipe: 'fp32',
    lora: { rank: 4, alpha: 8 },
    objective: contract.objectiveSchema.parse({}),
    optimizer: contract.optimizerSchema.parse({}),
    leaveOutSteps: [2],
    validateEverySteps: null,
    spikeFactor: null,
    checkpoint: {
      resumeFrom: null,
      everySteps: 2,
      expectedSecondsBetweenPreemptions: 3600,
      minSeconds: 1,
      maxSeconds: 60,
    },
    threads: 1,
  } satisfies contract.TrainerTrainSpec);
  const runDir = await runTrainer('train', folder, spec);

  const events = await linesOf(join(runDir, 'events.jsonl'), contract.eventSchema);
  const ofType = <T extends contract.TrainerEvent['type']>(type: T) =>
    events.filter((event): event is Extract<contract.TrainerEvent, { type: T }> => event.type === type);
  assert.equal(events[0]?.type, 'phase');
  assert.equal(events.at(-1)?.type, 'done');
  assert.equal(ofType('plan')[0]?.steps, 6);
  assert.deepEqual(
    ofType('step').map(({ step, leftOut }) => [step, leftOut]),
    [1, 2, 3, 4, 5, 6].map((step) => [step, step === 2]),
  );
  assert.equal(ofType('validation').at(-1)?.rows, 3);
  assert.match(ofType('done')[0]?.weightsSha256 ?? '', /^[0-9a-f]{64}$/);

  // Older ones make room, so only the last is surely there to read.
  const last = ofType('checkpoint').at(-1);
  assert.equal(last?.step, 6);
  const manifest = contract.checkpointManifestSchema.parse(
    JSON.parse(await readFile(join(last.path, 'manifest.json'), 'utf8')),
  );
  assert.equal(manifest.step, 6);
  assert.equal(manifest.identity, 'contract');
  const history = await linesOf(join(last.path, 'history.jsonl'), contract.historySchema);
  assert.equal(history.filter(({ type }) => type === 'step').length, 6);
});

test('an evaluation writes events and predictions as the contract says', { skip: python.skip }, async (t) => {
  const folder = await makeInputs(t);
  const spec = contract.evalSpecSchema.parse({
    version: 1,
    model: join(folder, 'base'),
    data: join(folder, 'validation.parquet'),
    maxSamples: null,
    promptStyle: 'as-trained',
    qualitativePrompts: ['解释'],
    maxPromptTokens: null,
    shardSize: 2,
    sampler: contract.samplerSchema.parse({ maxNewTokens: 8, steps: 4 }),
    seed: 0,
    recipe: 'fp32',
    threads: 1,
  } satisfies contract.TrainerEvalSpec);
  const runDir = await runTrainer('eval', folder, spec);

  const events = await linesOf(join(runDir, 'events.jsonl'), contract.eventSchema);
  assert.equal(events.at(-1)?.type, 'done');
  const shards = (await readdir(join(runDir, 'shards'))).filter((name) => name.endsWith('.jsonl')).sort();
  const predictions = (
    await Promise.all(shards.map((name) => linesOf(join(runDir, 'shards', name), contract.predictionSchema)))
  ).flat();
  assert.deepEqual(
    predictions.map(({ kind, index }) => `${kind} ${index}`),
    ['sample 0', 'sample 1', 'sample 2', 'qualitative 0'],
  );
});

test('grades are written as the contract says, a line for a line', { skip: python.skip }, async () => {
  const input: z.infer<typeof contract.gradeInputSchema>[] = [
    { reference: '$\\frac{1}{2}$', prediction: 'So it is \\boxed{0.5}.' },
    { reference: '3', prediction: 'The answer is \\boxed{4}.' },
    {
      reference: 'One shows by induction that every such group is abelian, whence the claim.',
      prediction: '\\boxed{4}',
    },
  ];
  const { stdout } = await execa(python.path, ['-m', 'dream_trainer', 'grade'], {
    cwd: trainer,
    input: `${input.map((line) => JSON.stringify(line)).join('\n')}\n`,
  });
  const grades = stdout.split('\n').map((line) => contract.gradeSchema.parse(JSON.parse(line)));
  assert.deepEqual(
    grades.map(({ verdict }) => verdict),
    ['correct', 'incorrect', 'ungradable'],
  );
});
