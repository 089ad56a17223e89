/**
 * numpy's default generator, bit for bit: SeedSequence into PCG64 (128-bit LCG, XSL-RR output). After
 * numpy/random/bit_generator.pyx and O'Neill's pcg64.h; numpy promises that this stream stays the same.
 */

const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const POOL_WORDS = 4;

/** `numpy.random.default_rng(seed)`, as far as 32-bit draws. */
export class Pcg64 {
  #state: bigint;
  readonly #increment: bigint;
  /** The high half of the last 64-bit draw, which the next 32-bit draw takes. */
  #highHalf: number | null = null;

  constructor(seed: number | bigint) {
    const [w0, w1, w2, w3] = seedWords(BigInt(seed));
    this.#increment = ((((w2 << 64n) | w3) << 1n) | 1n) & MASK_128;
    this.#state = this.#increment;
    this.#state = this.#step((this.#state + ((w0 << 64n) | w1)) & MASK_128);
  }

  nextUint64(): bigint {
    this.#state = this.#step(this.#state);
    const folded = (this.#state >> 64n) ^ (this.#state & MASK_64);
    const turn = this.#state >> 122n;
    return ((folded >> turn) | (folded << (64n - turn))) & MASK_64;
  }

  nextUint32(): number {
    if (this.#highHalf !== null) {
      const half = this.#highHalf;
      this.#highHalf = null;
      return half;
    }
    const draw = this.nextUint64();
    this.#highHalf = Number(draw >> 32n);
    return Number(draw & 0xffffffffn);
  }

  #step(state: bigint): bigint {
    return (state * MULTIPLIER + this.#increment) & MASK_128;
  }
}

/** SeedSequence(seed).generate_state(4, uint64). */
function seedWords(seed: bigint): [bigint, bigint, bigint, bigint] {
  const words = mixedPool(uint32Words(seed));
  let constant = 0x8b51f9dd;
  const out = Array.from({ length: 8 }, (_, index) => {
    const word = ((words[index % POOL_WORDS] as number) ^ constant) >>> 0;
    constant = Math.imul(constant, 0x58f38ded) >>> 0;
    return BigInt(xorShift(Math.imul(word, constant)));
  });
  const pair = (index: number): bigint => ((out[2 * index + 1] as bigint) << 32n) | (out[2 * index] as bigint);
  return [pair(0), pair(1), pair(2), pair(3)];
}

function mixedPool(entropy: readonly number[]): number[] {
  let constant = 0x43b0d7e5;
  const hash = (value: number): number => {
    const word = value ^ constant;
    constant = Math.imul(constant, 0x931e8875) >>> 0;
    return xorShift(Math.imul(word, constant));
  };
  const pool = Array.from({ length: POOL_WORDS }, (_, index) => hash(entropy[index] ?? 0));
  const mixInto = (target: number, value: number): void => {
    pool[target] = xorShift(Math.imul(0xca01f9dd, pool[target] as number) - Math.imul(0x4973f715, value));
  };
  for (let source = 0; source < POOL_WORDS; source++) {
    for (let target = 0; target < POOL_WORDS; target++) {
      if (source !== target) mixInto(target, hash(pool[source] as number));
    }
  }
  for (const word of entropy.slice(POOL_WORDS)) {
    for (let target = 0; target < POOL_WORDS; target++) mixInto(target, hash(word));
  }
  return pool;
}

/** A non-negative integer as 32-bit words, low word first; 0 is one word. */
function uint32Words(value: bigint): number[] {
  const words = [Number(value & 0xffffffffn)];
  for (let rest = value >> 32n; rest > 0n; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  return words;
}

const xorShift = (word: number): number => (word ^ (word >>> 16)) >>> 0;
