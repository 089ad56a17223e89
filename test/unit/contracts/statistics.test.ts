import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  exactMcNemar,
  gainVerdict,
  type PairedDifference,
  pairedDifference,
  spearman,
  wilsonInterval,
} from '../../../contracts/statistics.ts';

const near = (actual: number, expected: number, digits: number): void =>
  assert.ok(
    Math.abs(actual - expected) <= 0.5 * 10 ** -digits + 1e-12,
    `${actual} is not ${expected} to ${digits} digits`,
  );

/** Counts in the order of a published 2 × 2 table: both, first only, second only, neither. */
const paired = (both: number, first: number, second: number, neither: number): PairedDifference => {
  const result = pairedDifference({
    bothCorrect: both,
    onlyTunedCorrect: first,
    onlyBaseCorrect: second,
    neitherCorrect: neither,
  });
  assert.ok(result);
  return result;
};

test('gives the Wilson intervals of Newcombe 1998, table I', () => {
  for (const [successes, trials, low, high] of [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const) {
    const interval = wilsonInterval(successes, trials);
    assert.ok(interval);
    near(interval.low, low, 4);
    near(interval.high, high, 4);
  }
});

test('closes the Wilson interval exactly at the ends and gives none without trials', () => {
  assert.equal(wilsonInterval(7, 7)?.high, 1);
  assert.equal(wilsonInterval(0, 7)?.low, 0);
  assert.equal(wilsonInterval(0, 0), null);
});

test('gives the paired intervals of published examples', () => {
  // Altman et al., Statistics with Confidence (2000), table 6.2; Bentur 2009 and Cavo 2012 as in Fagerland, Lydersen
  // and Laake, Statistical Analysis of Contingency Tables (2017), chapter 8; Armitage and Berry (1994), p. 127.
  for (const [table, gain, low, high, digits] of [
    [[14, 5, 0, 22], 0.122, 0.011, 0.226, 3],
    [[1, 1, 7, 12], -0.286, -0.507, -0.026, 3],
    [[59, 6, 16, 80], -0.0621, -0.1186, -0.0046, 4],
    [[20, 12, 2, 16], 0.2, 0.056156, 0.329207, 6],
  ] as const) {
    const result = paired(table[0], table[1], table[2], table[3]);
    near(result.gain, gain, digits);
    near(result.interval.low, low, digits);
    near(result.interval.high, high, digits);
  }
});

test('keeps a width where the models never disagree', () => {
  const { gain, interval } = paired(40, 0, 0, 0);
  assert.equal(gain, 0);
  assert.ok(interval.low < -0.05 && interval.high > 0.05);
});

test('is antisymmetric in the two models', () => {
  const [one, other] = [paired(10, 15, 5, 20), paired(10, 5, 15, 20)];
  near(one.gain, -other.gain, 12);
  near(one.interval.low, -other.interval.high, 12);
  assert.equal(one.pValue, other.pValue);
});

test('gives the exact McNemar p-value', () => {
  near(exactMcNemar(12, 2), (2 * (1 + 14 + 91)) / 2 ** 14, 12);
  near(exactMcNemar(0, 5), 2 / 2 ** 5, 12);
  assert.equal(exactMcNemar(0, 0), 1);
  assert.equal(exactMcNemar(4, 4), 1);
});

test('computes the McNemar p-value where 2^-n underflows', () => {
  const p = exactMcNemar(700, 800);
  // The normal approximation with continuity correction: z = 99 / sqrt(1500).
  assert.ok(p > 0.0104 && p < 0.0108, String(p));
});

test('claims a difference only where the interval leaves zero out', () => {
  assert.equal(gainVerdict(paired(10, 20, 2, 18)), 'better');
  assert.equal(gainVerdict(paired(10, 2, 20, 18)), 'worse');
  assert.equal(gainVerdict(paired(10, 6, 5, 18)), 'no-clear-difference');
});

test('has no paired difference without questions', () => {
  assert.equal(pairedDifference({ bothCorrect: 0, onlyTunedCorrect: 0, onlyBaseCorrect: 0, neitherCorrect: 0 }), null);
});

test("gives Spearman's rank correlation with ties at their mean rank", () => {
  // Wikipedia's worked example of IQ and hours of television, ρ = −29/165.
  const rho = spearman([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]);
  assert.ok(rho !== null);
  near(rho, -29 / 165, 12);
  near(spearman([1, 2, 3, 4], [1, 1, 2, 2]) as number, 2 / Math.sqrt(5), 12);
  assert.equal(spearman([1, 2, 3], [4, 4, 4]), null);
  assert.equal(spearman([1], [1]), null);
});
