/** The split that `datasets`' `train_test_split(test_size=fraction, seed=seed)` makes, row for row and in its order. */
import { Pcg64 } from './pcg64.ts';

export interface Split {
  train: Uint32Array;
  validation: Uint32Array;
}

/** Row numbers of both sides; the validation side is rounded up. Neither is sorted. At most 2³² rows. */
export function trainTestSplit(rows: number, validationFraction: number, seed: number | bigint): Split {
  const order = permutation(rows, seed);
  const validation = Math.ceil(validationFraction * rows);
  return { validation: order.slice(0, validation), train: order.slice(validation) };
}

/**
 * `numpy.random.default_rng(seed).permutation(length)`: a shuffle from the end, each place drawn by masked rejection.
 * numpy does not promise this algorithm for good; it was checked against numpy 2.4.
 */
export function permutation(length: number, seed: number | bigint): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  const random = new Pcg64(seed);
  for (let last = length - 1; last > 0; last--) {
    const mask = 0xffffffff >>> Math.clz32(last);
    let place: number;
    do place = (random.nextUint32() & mask) >>> 0;
    while (place > last);
    const held = order[last] as number;
    order[last] = order[place] as number;
    order[place] = held;
  }
  return order;
}
