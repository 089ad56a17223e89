import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ThinCurve } from '../../../../activities/trainer/thin-curve.ts';

test('a short series stays as it is', () => {
  const curve = new ThinCurve();
  curve.add(3);
  curve.add(2);
  assert.deepEqual(curve.add(1), [3, 2, 1]);
});

test('a long one stays a few dozen points of the same course and mean', () => {
  const curve = new ThinCurve();
  let points: number[] = [];
  for (let value = 0; value < 48 * 64; value++) {
    points = curve.add(value);
    assert.ok(points.length <= 48, `${points.length} points`);
  }
  assert.ok(points.length >= 24);
  assert.deepEqual(
    points,
    [...points].sort((a, b) => a - b),
  );
  assert.equal(points.reduce((sum, point) => sum + point, 0) / points.length, (48 * 64 - 1) / 2);
});
