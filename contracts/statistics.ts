/** Statistics of an evaluation: how sure an accuracy is, and whether one model beats another on the same questions. */

/** Of the 95 % intervals: the standard normal's 97.5 % quantile. */
const Z = 1.959963984540054;

export interface Interval {
  low: number;
  high: number;
}

/** Two models' answers to the same questions, counted by who was right. Rates are shares, not per cent. */
export interface PairedDifference {
  questions: number;
  bothCorrect: number;
  onlyBaseCorrect: number;
  onlyTunedCorrect: number;
  neitherCorrect: number;
  /** Tuned less base. */
  gain: number;
  /** 95 % interval of the gain. */
  interval: Interval;
  /** Exact McNemar test, two-sided. */
  pValue: number;
}

export type PairedCounts = Pick<
  PairedDifference,
  'bothCorrect' | 'onlyBaseCorrect' | 'onlyTunedCorrect' | 'neitherCorrect'
>;

/** What a gain amounts to: a claim is made only where the interval leaves zero out. */
export type GainVerdict = 'better' | 'no-clear-difference' | 'worse';

/**
 * Wilson's 95 % score interval of a proportion, without continuity correction; null without trials.
 *
 * Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209–212; method 3 of R. G. Newcombe, Stat. Med. 17 (1998)
 * 857–872.
 */
export function wilsonInterval(successes: number, trials: number): Interval | null {
  if (trials === 0) return null;
  const rate = successes / trials;
  const denominator = 1 + (Z * Z) / trials;
  const centre = (rate + (Z * Z) / (2 * trials)) / denominator;
  const half = (Z / denominator) * Math.sqrt((rate * (1 - rate)) / trials + (Z * Z) / (4 * trials * trials));
  // At the ends the formula gives exactly 0 or 1, which rounding would miss.
  return {
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === trials ? 1 : Math.min(1, centre + half),
  };
}

/**
 * The gain of tuned over base on the same questions, with Newcombe's 95 % interval for paired proportions; null
 * without questions. Wald's interval would have no width where the models never disagree.
 *
 * Source: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
 * paired data", Stat. Med. 17 (1998) 2635–2650, method 10 (Wilson's intervals of the two rates, joined by their
 * correlation φ, which is corrected for continuity where positive).
 */
export function pairedDifference(counts: PairedCounts): PairedDifference | null {
  const { bothCorrect: a, onlyTunedCorrect: b, onlyBaseCorrect: c, neitherCorrect: d } = counts;
  const questions = a + b + c + d;
  const tuned = wilsonInterval(a + b, questions);
  const base = wilsonInterval(a + c, questions);
  if (!tuned || !base) return null;
  const tunedRate = (a + b) / questions;
  const baseRate = (a + c) / questions;
  const phi = correlation(a, b, c, d);
  const join = (x: number, y: number): number => Math.sqrt(Math.max(0, x * x - 2 * phi * x * y + y * y));
  const gain = (b - c) / questions;
  return {
    questions,
    ...counts,
    gain,
    interval: {
      low: Math.max(-1, gain - join(tunedRate - tuned.low, base.high - baseRate)),
      high: Math.min(1, gain + join(tuned.high - tunedRate, baseRate - base.low)),
    },
    pValue: exactMcNemar(b, c),
  };
}

function correlation(a: number, b: number, c: number, d: number): number {
  const denominator = Math.sqrt((a + b) * (c + d) * (a + c) * (b + d));
  if (denominator === 0) return 0;
  const numerator = a * d - b * c;
  return (numerator > 0 ? Math.max(numerator - (a + b + c + d) / 2, 0) : numerator) / denominator;
}

/**
 * Two-sided p-value of the exact McNemar test: twice the binomial tail of the rarer kind among the questions on which
 * the models disagree.
 *
 * Source: Q. McNemar, Psychometrika 12 (1947) 153–157, in its exact (sign test) form.
 */
export function exactMcNemar(oneOnly: number, otherOnly: number): number {
  const n = oneOnly + otherOnly;
  const rarer = Math.min(oneOnly, otherOnly);
  // In logarithms, for 2⁻ⁿ underflows at n = 1075.
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= rarer; k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log(n - k) - Math.log(k + 1);
  }
  return Math.min(1, 2 * tail);
}

export function gainVerdict({ interval }: PairedDifference): GainVerdict {
  if (interval.low > 0) return 'better';
  return interval.high < 0 ? 'worse' : 'no-clear-difference';
}

/**
 * Spearman's rank correlation, ties by their mean rank (Pearson's r of the ranks); null where either side is constant
 * or has fewer than two values.
 */
export function spearman(x: readonly number[], y: readonly number[]): number | null {
  if (x.length !== y.length) throw new RangeError(`${x.length} values cannot be paired with ${y.length}`);
  const [rx, ry] = [ranks(x), ranks(y)];
  const mean = (x.length + 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  for (const [index, rank] of rx.entries()) {
    const dx = rank - mean;
    const dy = (ry[index] as number) - mean;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return xx === 0 || yy === 0 ? null : xy / Math.sqrt(xx * yy);
}

/** Ranks from 1; equal values share their mean rank. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, index) => index).sort((i, j) => (values[i] as number) - (values[j] as number));
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1] as number] === values[order[start] as number]) end++;
    for (let at = start; at <= end; at++) result[order[at] as number] = (start + end) / 2 + 1;
    start = end + 1;
  }
  return result;
}
