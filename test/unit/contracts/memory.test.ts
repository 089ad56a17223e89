import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DREAM_7B,
  estimateMemory,
  fits,
  type MemoryRecipe,
  nearestFit,
  neededGib,
  parameterCount,
} from '../../../contracts/memory.ts';

const recipe: MemoryRecipe = {
  recipe: 'fp32',
  microBatchSize: 4,
  maxTokens: 2048,
  activationCheckpointing: true,
};

test("counts Dream 7B's parameters", () => {
  assert.equal(parameterCount(DREAM_7B), 7_615_616_512);
});

test('counts tied embeddings once, and ungrouped keys and values in full', () => {
  const shape = {
    vocab_size: 10,
    hidden_size: 4,
    intermediate_size: 3,
    num_hidden_layers: 2,
    num_attention_heads: 2,
  };
  // A layer: q, k, v 4·4 + 4 each, o 4·4, SwiGLU 3·4·3, norms 2·4.
  const layer = 3 * 20 + 16 + 36 + 8;
  assert.equal(parameterCount(shape), 2 * 40 + 2 * layer + 4);
  assert.equal(parameterCount({ ...shape, tie_word_embeddings: true }), 40 + 2 * layer + 4);
  assert.equal(parameterCount({ ...shape, num_key_value_heads: 1 }), 2 * 40 + 2 * (layer - 20) + 4);
});

test("states of Dream 7B take 121.8 GB in the public trainer's recipe", () => {
  const { weights, gradients, optimizer, castWeights } = estimateMemory(DREAM_7B, recipe);
  assert.equal(((weights + gradients + optimizer) / 1e9).toFixed(1), '121.8');
  assert.equal(castWeights, 0);
  const cast = estimateMemory(DREAM_7B, { ...recipe, recipe: 'autocast' });
  assert.equal(cast.weights + cast.gradients + cast.optimizer, weights + gradients + optimizer);
  assert.equal((cast.castWeights / 1e9).toFixed(1), '14.1');
});

test('the total is the sum of its kinds', () => {
  const { total, ...kinds } = estimateMemory(DREAM_7B, { ...recipe, recipe: 'autocast' });
  assert.equal(
    total,
    Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0),
  );
});

test('activations grow with rows and tokens, and shrink when they are recomputed', () => {
  const activations = (changes: Partial<MemoryRecipe>): number =>
    estimateMemory(DREAM_7B, { ...recipe, ...changes }).activations;
  assert.equal(activations({ microBatchSize: 8 }), 2 * activations({}));
  assert.equal(activations({ maxTokens: 1024 }), activations({}) / 2);
  assert.ok(activations({ activationCheckpointing: false }) > 5 * activations({}));
  assert.ok(activations({ recipe: 'autocast' }) < activations({}));
});

test("none of the walkthrough's GPUs below 80 GB holds Dream 7B in fp32 states, nor does one of 80 GB", () => {
  for (const gib of [24, 40, 80]) {
    assert.equal(fits(estimateMemory(DREAM_7B, { ...recipe, microBatchSize: 1 }), gib), false);
    assert.equal(nearestFit(DREAM_7B, recipe, gib), null);
  }
});

test('offers a smaller micro-batch before recomputing, and recomputing before shorter rows', () => {
  const wanted: MemoryRecipe = { ...recipe, microBatchSize: 6, activationCheckpointing: false };
  const withRoomFor = (near: MemoryRecipe): MemoryRecipe | null =>
    nearestFit(DREAM_7B, wanted, neededGib(estimateMemory(DREAM_7B, near)));
  assert.deepEqual(withRoomFor(wanted), wanted);
  assert.deepEqual(withRoomFor({ ...wanted, microBatchSize: 3 }), { ...wanted, microBatchSize: 3 });
  const recomputed = { ...wanted, microBatchSize: 1, activationCheckpointing: true };
  assert.deepEqual(withRoomFor(recomputed), recomputed);
  const shorter = { ...recomputed, maxTokens: 1024 };
  assert.deepEqual(withRoomFor(shorter), shorter);
});
