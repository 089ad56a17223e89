/** A series that grows without end as a few dozen numbers: where there are too many, each pair becomes its mean. */
const MOST = 48;

export class ThinCurve {
  #points: number[] = [];
  /** Values a point stands for. */
  #stride = 1;
  #sum = 0;
  #count = 0;

  /** Returns the curve: full points, and what the last one is so far. */
  add(value: number): number[] {
    this.#sum += value;
    if (++this.#count === this.#stride) {
      this.#points.push(this.#sum / this.#count);
      [this.#sum, this.#count] = [0, 0];
      if (this.#points.length === MOST) this.#halve();
    }
    return this.#count === 0 ? [...this.#points] : [...this.#points, this.#sum / this.#count];
  }

  #halve(): void {
    const before = this.#points;
    this.#points = before
      .filter((_, index) => index % 2 === 0)
      .map((left, index) => (left + (before[2 * index + 1] ?? left)) / 2);
    this.#stride *= 2;
  }
}
