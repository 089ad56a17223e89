import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { canonicalJson, type JsonValue } from '../../../contracts/canonical-json.ts';
import { python } from '../../fixtures/python.ts';

test("writes RFC 8785's example", () => {
  const value = {
    // biome-ignore lint/correctness/noPrecisionLoss: the RFC's own example, which is to be rounded
    numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"\u002f',
    literals: [null, true, false],
  };
  assert.equal(
    canonicalJson(value),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

test("sorts keys by UTF-16 code units, as RFC 8785's example does", () => {
  const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
  assert.equal(canonicalJson(value), '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
});

test('leaves undefined members out, also deep inside', () => {
  assert.equal(canonicalJson({ b: undefined, a: { c: undefined, d: [] } }), '{"a":{"d":[]}}');
});

test('does not depend on the order in which members were set', () => {
  assert.equal(canonicalJson({ a: 1, b: { c: 2, d: 3 } }), canonicalJson({ b: { d: 3, c: 2 }, a: 1 }));
});

test('writes negative zero as zero', () => {
  assert.equal(canonicalJson(-0), '0');
});

test('refuses what JSON cannot hold', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 0, [undefined]]) {
    assert.throws(() => canonicalJson(value as unknown as JsonValue), TypeError);
  }
});

test("is what Python's json.dumps writes with sorted keys and no spaces", {}, () => {
  const values: JsonValue[] = [
    { stage: 'train', version: 1, inputs: { model: 'ab', filtered: 'cd' }, parameters: { epochs: 3, lr: 0.0002 } },
    ['多', 'é', '\u2028', '"\\/', '\n\t\u0001'],
    { z: [1, -1, 0.1, 1e21, 123456789012], a: null, A: true, _: false },
    {},
    [],
  ];
  const script =
    'import json, sys\nprint("\\n".join(json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for v in json.load(sys.stdin)))';
  const result = spawnSync(python.path, ['-c', script], {
    input: JSON.stringify(values),
    encoding: 'utf8',
    env: { ...process.env, PYTHONIOENCODING: 'utf-8' },
  });
  assert.equal(result.status, 0, result.stderr);
  assert.deepEqual(result.stdout.trimEnd().split('\n'), values.map(canonicalJson));
});
