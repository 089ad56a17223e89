/** Two safetensors files of bf16 weights, compared number by number. */

interface TensorEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** The largest absolute difference; Infinity where the tensors are not the same ones. */
export function largestDifference(a: Uint8Array, b: Uint8Array): number {
  const [left, right] = [readWeights(a), readWeights(b)];
  if (left.header !== right.header || left.values.length !== right.values.length) return Number.POSITIVE_INFINITY;
  return left.values.reduce((most, value, at) => Math.max(most, Math.abs(value - (right.values[at] ?? Number.NaN))), 0);
}

function readWeights(bytes: Uint8Array): { header: string; values: Float32Array } {
  const buffer = Buffer.from(bytes);
  const length = Number(buffer.readBigUInt64LE(0));
  const header = buffer.toString('utf8', 8, 8 + length);
  const entries = Object.entries(JSON.parse(header) as Record<string, TensorEntry>);
  const other = entries.find(([name, { dtype }]) => name !== '__metadata__' && dtype !== 'BF16');
  if (other) throw new Error(`tensor ${other[0]} is ${other[1].dtype}; expected BF16`);
  const bits = new Uint32Array((buffer.length - 8 - length) / 2);
  // bf16 is the upper half of a float32.
  for (let at = 0; at < bits.length; at++) bits[at] = buffer.readUInt16LE(8 + length + 2 * at) << 16;
  return { header, values: new Float32Array(bits.buffer) };
}
