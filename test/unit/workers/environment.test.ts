import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEnvironment } from '../../../workers/environment.ts';

test('a deployment needs both its name and a build', () => {
  assert.equal(readEnvironment({}).deployment, null);
  const both = { REVERIE_DEPLOYMENT: 'reverie', REVERIE_BUILD_ID: 'a1' };
  assert.deepEqual(readEnvironment(both).deployment, { name: 'reverie', buildId: 'a1' });
  assert.throws(
    () => readEnvironment({ ...both, REVERIE_BUILD_ID: '' }),
    /REVERIE_BUILD_ID is unset; expected both or/,
  );
});

test('nothing is served unless an address is set', () => {
  assert.deepEqual(readEnvironment({}).observed, { metricsAddress: null, healthAddress: null });
});
