/** What was injected and what came of it, a line for each fault. */
import type { Injection } from './injection.ts';

export interface Row {
  fault: string;
  injected: number;
  fired: number;
  recovered: number;
  identical: number;
  /** The largest difference of a weight where one is allowed; null: to the bit. */
  difference: number | null;
  stepsLost: number | null;
  /** Seen twice or never, in the runs as they count in the end. */
  samplesAmiss: number;
  secondsMedian: number | null;
  secondsMax: number | null;
  missed: number;
}

export function rowsOf(injections: readonly Injection[]): Row[] {
  const faults = [...new Set(injections.map(({ fault }) => fault))];
  return faults.map((fault) => {
    const of = injections.filter((injection) => injection.fault === fault);
    const count = (holds: (injection: Injection) => boolean): number => of.filter(holds).length;
    const seconds = of.flatMap(({ secondsToNewStep }) => secondsToNewStep ?? []);
    return {
      fault,
      injected: of.length,
      fired: count(({ fired }) => fired),
      recovered: count(({ recovered }) => recovered),
      identical: count(({ identical }) => identical),
      difference: largest(of.flatMap(({ difference }) => difference ?? [])),
      stepsLost: largest(of.flatMap(({ stepsLost }) => stepsLost ?? [])),
      samplesAmiss: largest(of.flatMap(({ samplesAmiss }) => samplesAmiss ?? [])) ?? 0,
      secondsMedian: median(seconds),
      secondsMax: largest(seconds),
      missed: count(({ misses }) => misses.length > 0),
    };
  });
}

const HEADS = [
  'fault',
  'injected',
  'fired',
  'recovered',
  'bit-identical',
  'steps lost',
  'samples amiss',
  's to new step',
  'max',
  'missed',
];

export function table(injections: readonly Injection[]): string {
  const cells = rowsOf(injections).map((row) => [
    row.fault,
    String(row.injected),
    String(row.fired),
    String(row.recovered),
    row.difference === null ? String(row.identical) : `${row.identical} within ${row.difference.toPrecision(2)}`,
    row.stepsLost === null ? 'none' : `≤ ${row.stepsLost}`,
    String(row.samplesAmiss),
    row.secondsMedian?.toFixed(1) ?? '',
    row.secondsMax?.toFixed(1) ?? '',
    String(row.missed),
  ]);
  const widths = HEADS.map((head, column) => Math.max(head.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const format = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return [format(HEADS), ...cells.map(format)].join('\n');
}

/** As it goes. */
export function line({ fault, run, detail, step, resumedFrom, secondsToNewStep, misses }: Injection): string {
  const resumed = resumedFrom === null ? '' : `, resumed from ${resumedFrom}`;
  const seconds = secondsToNewStep === null ? '' : `, ${secondsToNewStep.toFixed(1)} s`;
  const how = misses.length === 0 ? '✓' : '✗';
  const missed = misses.map((miss) => `\n    ${miss}`).join('');
  return `${how} ${run}  ${fault} ${detail}, at step ${step ?? '?'}${resumed}${seconds}${missed}`;
}

export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}

export function largest(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.max(...values);
}
