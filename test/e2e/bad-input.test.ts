/**
 * Bad input through both doors: `reverie start --watch`, which ends with exit code 2 and the reason, and a run started
 * straight at Temporal, which fails with the same words. Store and caches stay as they were.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { Field, Schema, Utf8 } from 'apache-arrow';
import { writeParquet } from '../../activities/parquet/write.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import { TASK_QUEUE, WORKFLOW_TYPE } from '../../contracts/workflow-api.ts';
import { type Ended, reverie } from '../fixtures/command.ts';
import { python } from '../fixtures/python.ts';
import { startTestStack, type TestStack } from './stack.ts';

const { skip } = python;
const LIMIT_SECONDS = 5;
/** This may be a busy machine. */
const NOISE = 2;
const root = join(import.meta.dirname, '..', '..');
const base = join(root, 'infra/demo/base');
const dataset = join(root, 'infra/demo/data/s1k-style.jsonl.gz');

let stack: TestStack;
let inputs: string;
before(async () => {
  if (skip !== false) return;
  stack = await startTestStack();
  inputs = join(stack.dir, 'inputs');
  await mkdir(inputs);
});
after(() => stack?.stop());

interface Case {
  title: string;
  /** Makes the input and returns the spec that names it. */
  spec: () => unknown;
  type: 'InvalidSpec' | 'DatasetRejected' | 'ModelRejected';
  /** What the message names: the thing, what came, what was expected, what to do. */
  says: RegExp[];
}

const row = { question: 'What is 1 plus 2?', solution: '3', deepseek_attempt: 'It is \\boxed{3}.' };
const jsonLines = (...rows: object[]): string => rows.map((each) => `${JSON.stringify(each)}\n`).join('');
const tenRows = Array.from({ length: 10 }, () => row);

async function data(name: string, content: string | Uint8Array): Promise<RunSpecInput> {
  const file = join(inputs, name);
  await writeFile(file, content);
  return { model: { source: base }, dataset: { source: file } };
}

/** The demo's base with one thing changed. */
async function model(name: string, change: (folder: string) => Promise<void>): Promise<RunSpecInput> {
  const folder = join(inputs, name);
  await cp(base, folder, { recursive: true });
  await change(folder);
  return { model: { source: folder }, dataset: { source: dataset } };
}

async function changeJson(file: string, change: (value: Record<string, unknown>) => void): Promise<void> {
  const value = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  change(value);
  await writeFile(file, JSON.stringify(value));
}

const cases: Case[] = [
  {
    title: 'an unknown field',
    spec: () => ({ train: { learningRate: 1e-5 } }),
    type: 'InvalidSpec',
    says: [
      /train\.learningRate is not a field of the run spec/,
      /expected one of/,
      /did you mean train\.optimizer\.learningRate\?/,
    ],
  },
  {
    title: 'a wrong type',
    spec: () => ({ train: { epochs: 'three' } }),
    type: 'InvalidSpec',
    says: [/train\.epochs is "three"/, /expected/, /correct it or leave the field out/],
  },
  {
    title: 'a global batch that is no multiple of the micro-batch',
    spec: () => ({ train: { globalBatchSize: 6, microBatchSize: 4 } }),
    type: 'InvalidSpec',
    says: [
      /train\.globalBatchSize 6 is not a multiple of train\.microBatchSize 4/,
      /expected/,
      /use 8 or set microBatchSize 1/,
    ],
  },
  {
    title: 'a data set that is missing',
    spec: () => ({ model: { source: base }, dataset: { source: join(inputs, 'nowhere.jsonl') } }),
    type: 'DatasetRejected',
    says: [/nowhere\.jsonl/, /expected/],
  },
  {
    title: 'an empty data set',
    spec: () => data('empty.jsonl', ''),
    type: 'DatasetRejected',
    says: [/empty\.jsonl is empty \(0 bytes\)/, /expected rows/, /write the file again/],
  },
  {
    title: 'a data set without rows',
    spec: () => data('blank.jsonl', '\n\n'),
    type: 'DatasetRejected',
    says: [/blank\.jsonl/, /expected/],
  },
  {
    title: 'a truncated Parquet file',
    spec: async () => {
      const whole = join(stack.dir, 'whole.parquet');
      await writeParquet(whole, new Schema(Object.keys(row).map((name) => new Field(name, new Utf8()))), tenRows);
      return data('cut.parquet', (await readFile(whole)).subarray(0, -100));
    },
    type: 'DatasetRejected',
    says: [/cut\.parquet is truncated/, /expected a whole Parquet file/, /copy or write it again/],
  },
  {
    title: 'wrong columns, naming what is there and the preset that fits',
    spec: () =>
      data('columns.jsonl', jsonLines(...tenRows.map(({ question }) => ({ prompt: question, response: '3' })))),
    type: 'DatasetRejected',
    says: [/prompt, response/, /expected/, /generic/],
  },
  {
    title: 'invalid UTF-8',
    spec: () => data('latin1.jsonl', Buffer.from(jsonLines(...tenRows, { ...row, solution: 'déjà' }), 'latin1')),
    type: 'DatasetRejected',
    says: [/latin1\.jsonl/, /UTF-8/, /expected/],
  },
  {
    title: 'a literal mask token in a text',
    spec: () => data('mask.jsonl', jsonLines(...tenRows, { ...row, question: 'What is <|mask|>?' })),
    type: 'DatasetRejected',
    says: [/<\|mask\|>/, /expected/],
  },
  {
    title: 'a model folder without config.json',
    spec: () => model('no-config', (folder) => rm(join(folder, 'config.json'))),
    type: 'ModelRejected',
    says: [/has no config\.json/, /expected a Hugging Face model folder/, /correct model\.source/],
  },
  {
    title: 'a model folder with a shard missing',
    spec: () =>
      model('shard', async (folder) => {
        await rm(join(folder, 'model.safetensors'));
        const index = { weight_map: { 'lm_head.weight': 'model-00002-of-00002.safetensors' } };
        await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
      }),
    type: 'ModelRejected',
    says: [/lacks 1 of 1 shards: model-00002-of-00002\.safetensors/, /expected/, /download the missing/],
  },
  {
    title: 'a tokenizer whose mask token is not in the vocabulary',
    spec: () =>
      model('mask', (folder) => changeJson(join(folder, 'config.json'), (it) => (it.mask_token_id = 596_000))),
    type: 'ModelRejected',
    says: [/mask_token_id 596000 of config\.json is not among the tokenizer's \d+ tokens/, /expected/, /add the token/],
  },
];

function assertTold({ type, says }: Case, text: string): void {
  for (const pattern of says) assert.match(text, pattern, type);
  assert.doesNotMatch(text, /\n\s+at |node:internal|\[object Object\]|undefined/, 'a message, not a stack trace');
}

let started = 0;
for (const each of cases) {
  test(`refuses ${each.title}`, { skip, timeout: 60_000 }, async (t) => {
    const spec = await each.spec();
    const before = await listing();

    const file = join(inputs, 'spec.json');
    await writeFile(file, JSON.stringify(spec));
    const command = await reverie(['start', file, '--watch'], { env: stack.env });
    assert.equal(command.code, 2, command.stderr || command.stdout);
    assertTold(each, command.stderr);

    const startedMs = performance.now();
    const handle = await stack.client.workflow.start(WORKFLOW_TYPE, {
      taskQueue: TASK_QUEUE,
      workflowId: `bad-${++started}`,
      args: [spec],
    });
    const failure: unknown = await handle.result().catch((error: unknown) => error);
    const seconds = (performance.now() - startedMs) / 1000;
    assert.ok(failure instanceof WorkflowFailedError && failure.cause instanceof ApplicationFailure, String(failure));
    assert.equal(failure.cause.type, each.type);
    assertTold(each, failure.cause.message);

    t.diagnostic(`command ${command.seconds.toFixed(1)} s, run ${seconds.toFixed(1)} s: ${failure.cause.message}`);
    for (const took of [command.seconds, seconds]) assert.ok(took <= LIMIT_SECONDS * NOISE, `${took} s`);
    assert.deepEqual(await listing(), before, 'store and caches');
  });
}

/** Every file of store and cache with its content. */
async function listing(): Promise<string[]> {
  const files: string[] = [];
  for (const folder of [stack.storeDir, stack.cacheDir]) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const hash = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
      files.push(`${relative(stack.dir, path)} ${hash}`);
    }
  }
  return files.sort();
}

function assertRefused({ code, stderr, seconds }: Ended, pattern: RegExp): void {
  assert.equal(code, 2, stderr);
  assert.match(stderr, pattern);
  assert.match(stderr, /; expected /);
  assert.doesNotMatch(stderr, /\n\s+at /);
  assert.ok(seconds <= LIMIT_SECONDS * NOISE, `${seconds} s`);
}

test('refuses a spec file that is missing', { skip }, async () => {
  const file = join(inputs, 'no-such-spec.json');
  assertRefused(await reverie(['start', file], { env: stack.env }), /^Run spec .*no-such-spec\.json cannot be read/);
});

test('refuses a spec file that is not JSON', { skip }, async () => {
  const file = join(inputs, 'broken.json');
  await writeFile(file, '{"train": {');
  assertRefused(await reverie(['start', file], { env: stack.env }), /^Run spec .*broken\.json is not JSON/);
});

test('refuses what is no object, also straight from Temporal', { skip }, async () => {
  for (const spec of ['{"train": {}}', null, [1]]) {
    const handle = await stack.client.workflow.start(WORKFLOW_TYPE, {
      taskQueue: TASK_QUEUE,
      workflowId: `bad-${++started}`,
      args: [spec],
    });
    await assert.rejects(handle.result(), (error) => {
      assert.ok(error instanceof WorkflowFailedError && error.cause instanceof ApplicationFailure);
      assert.equal(error.cause.type, 'InvalidSpec');
      assert.match(error.cause.message, /^The run spec is .*; expected a JSON object; write \{\} for the defaults\.$/);
      return true;
    });
  }
});

test('says that Temporal is not reachable', { skip }, async () => {
  // The discard port: nothing listens there.
  const env = { ...stack.env, TEMPORAL_ADDRESS: '127.0.0.1:9' };
  for (const args of [['start'], ['watch', 'a-run'], ['worker', 'cpu'], ['worker', 'gpu']]) {
    assertRefused(
      await reverie(args, { env }),
      /^Temporal at 127\.0\.0\.1:9 does not answer .*start one with `reverie up`/,
    );
  }
});

test('says that the store is not writable, before anything starts', { skip }, async () => {
  const file = join(inputs, 'a-file');
  await writeFile(file, '');
  // A folder below a file can be made by nobody, root included.
  const env = { ...stack.env, REVERIE_STORE: join(file, 'store') };
  for (const args of [['worker', 'cpu'], ['worker', 'gpu'], ['up']]) {
    assertRefused(
      await reverie(args, { env }),
      /^Store file:\/\/.*a-file\/store failed to put .*set REVERIE_STORE to another folder/,
    );
  }
  assert.equal(await readFile(file, 'utf8'), '');
});

test('leaves the workers at work: a good run still goes through', { skip, timeout: 180_000 }, async () => {
  const few = gunzipSync(await readFile(dataset))
    .toString()
    .split('\n')
    .slice(0, 40)
    .join('\n');
  const file = join(inputs, 'few.jsonl.gz');
  await writeFile(file, gzipSync(few));
  const spec: RunSpecInput = {
    model: { source: base },
    dataset: { source: file },
    filter: { maxTokens: 96 },
    train: { globalBatchSize: 4, microBatchSize: 4, maxSteps: 2, activationCheckpointing: false },
    eval: { maxSamples: 2, sampler: { maxNewTokens: 8, steps: 2 }, qualitativePrompts: [] },
  };
  const specFile = join(inputs, 'good.json');
  await writeFile(specFile, JSON.stringify(spec));
  const { code, stdout, stderr } = await reverie(['start', specFile, '--watch'], { env: stack.env });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /✓ report/);
});
