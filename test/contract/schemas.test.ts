import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { z } from 'zod';
import { changesSchema, runSpecSchema } from '../../contracts/run-spec.ts';
import { defaultSpecFile, schemaFiles } from '../../contracts/write-schemas.ts';

const schemas = new URL('../../contracts/schemas/', import.meta.url);
const REMEDY = 'out of step; run `node --import tsx contracts/write-schemas.ts` and commit the result';

test('the JSON Schemas on disk are those that the contracts make', () => {
  const made = schemaFiles();
  assert.deepEqual(readdirSync(schemas).sort(), Object.keys(made).sort());
  for (const [name, text] of Object.entries(made)) {
    assert.equal(readFileSync(new URL(name, schemas), 'utf8'), text, `contracts/schemas/${name} is ${REMEDY}`);
  }
});

test("infra/specs/s1k.json is {} written out, and its own input's fixed point", () => {
  const text = readFileSync(new URL('../../infra/specs/s1k.json', import.meta.url), 'utf8');
  assert.equal(text, defaultSpecFile(), `infra/specs/s1k.json is ${REMEDY}`);
  assert.deepEqual(runSpecSchema.parse(JSON.parse(text)), runSpecSchema.parse({}));
});

test('{} is the recipe that the design settles', () => {
  const spec = runSpecSchema.parse({});
  assert.equal(spec.model.source, 'hf://Dream-org/Dream-v0-Base-7B');
  assert.equal(spec.dataset.source, 'hf://simplescaling/s1K-1.1');
  assert.equal(spec.dataset.mapping.preset, 's1k-1.1');
  assert.equal(spec.dataset.mapping.includeTrace, 'none');
  assert.match(spec.dataset.mapping.systemPrompt ?? '', /^You are a helpful AI assistant\. Think step by step/);
  assert.equal(spec.dataset.validationFraction, 0.1);
  assert.equal(spec.dataset.splitSeed, 42);
  assert.equal(spec.filter.maxTokens, 2048);
  assert.deepEqual(spec.filter.thresholds, [1024, 2048]);
  assert.equal(spec.train.queue, 'reverie-gpu');
  assert.equal(spec.train.epochs, 3);
  assert.equal(spec.train.globalBatchSize, 16);
  assert.deepEqual(spec.train.objective, {
    weighting: 'cart',
    cartP: 0.1,
    cutoff: 'random_with_input_pad',
    keepEos: true,
    normalisation: 'global',
  });
  assert.equal(spec.train.optimizer.learningRate, 2e-6);
  assert.equal(spec.train.optimizer.schedule, 'cosine');
  assert.equal(spec.train.optimizer.warmupRatio, 0.1);
  assert.equal(spec.eval.promptStyle, 'as-trained');
  assert.deepEqual(spec.eval.sampler, {
    algorithm: 'entropy',
    maxNewTokens: 512,
    steps: 256,
    temperature: 0.2,
    topP: null,
    topK: null,
    algorithmTemperature: 0,
    mode: 'exact',
    blockLength: 32,
    refreshEveryBlocks: 1,
    threshold: null,
  });
  assert.equal(spec.eval.qualitativePrompts.length, 3);
  assert.equal(spec.promote.enabled, false);
});

test('every field of the run spec has a default and says what it means', () => {
  const walk = (object: z.ZodObject, path: string): void => {
    assert.ok(object.def.catchall instanceof z.ZodNever, `${path || 'the spec'} lets unknown fields pass`);
    for (const [name, field] of Object.entries(object.shape)) {
      const place = path === '' ? name : `${path}.${name}`;
      assert.ok(field instanceof z.ZodDefault || field instanceof z.ZodPrefault, `${place} has no default`);
      assert.ok((field.description ?? '') !== '', `${place} has no description`);
      const given = field.unwrap();
      if (given instanceof z.ZodObject) walk(given, place);
    }
  };
  walk(runSpecSchema, '');
});

test('changes fill in nothing that was not given', () => {
  assert.deepEqual(changesSchema.parse({}), {});
  assert.deepEqual(changesSchema.parse({ train: { objective: { cartP: 0.2 } } }), {
    train: { objective: { cartP: 0.2 } },
  });
});
