/** Numbers as the report prints them, the same in every language and on every host. */

/** 1234567 → 1,234,567. */
export function grouped(value: number): string {
  const [whole = '', fraction] = String(value).split('.');
  const digits = whole.replaceAll(/\B(?=(\d{3})+(?!\d))/g, ',');
  return fraction === undefined ? digits : `${digits}.${fraction}`;
}

export const percent = (share: number | null): string => (share === null ? '—' : `${(100 * share).toFixed(1)} %`);

/** A difference of shares in points, signed, with a real minus. */
export const points = (share: number): string => signed(100 * share, 1);

export function signed(value: number, digits: number): string {
  const magnitude = Math.abs(value).toFixed(digits);
  if (Number(magnitude) === 0) return magnitude;
  return `${value < 0 ? '−' : '+'}${magnitude}`;
}

/** Four significant digits, as losses are compared. */
export const significant = (value: number | null): string =>
  value === null ? '—' : grouped(Number(value.toPrecision(4))).replace(/^-/, '−');

export const pValue = (value: number): string => (value < 0.0001 ? '< 0.0001' : `= ${value.toFixed(4)}`);

/** 2e-6 instead of 0.000002. */
export const rate = (value: number): string => (value < 0.001 ? value.toExponential() : String(value));

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [amount, unit] = [value, 0];
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

/** Parameters of a model: 7.6 B, 1.2 M. */
export function magnitude(value: number): string {
  for (const [size, unit] of [
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return String(value);
}

export const short = (digest: string): string => digest.slice(0, 12);
