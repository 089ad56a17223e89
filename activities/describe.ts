/** Statistics of a column as pandas' `describe()` gives them. */
import type { Describe } from '../contracts/stages.ts';

/** Sample standard deviation, quantiles by linear interpolation. Null where there are no values; std is 0 for one. */
export function describe(values: ArrayLike<number>): Describe | null {
  const count = values.length;
  if (count === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const mean = sorted.reduce((sum, value) => sum + value, 0) / count;
  const squares = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    count,
    mean,
    std: count > 1 ? Math.sqrt(squares / (count - 1)) : 0,
    min: sorted[0] as number,
    p25: quantile(sorted, 0.25),
    p50: quantile(sorted, 0.5),
    p75: quantile(sorted, 0.75),
    max: sorted[count - 1] as number,
  };
}

function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const low = sorted[Math.floor(place)] as number;
  const high = sorted[Math.ceil(place)] as number;
  return low + (high - low) * (place - Math.floor(place));
}
