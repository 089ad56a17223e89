/** A run as lines of text: the table that a terminal redraws, and the lines that a pipe is told. */
import { styleText } from 'node:util';
import type { GpuUse, HeartbeatDetails, StageStatus } from '../contracts/workflow-api.ts';
import type { Observation } from './observe.ts';

const signs: Record<StageStatus['state'], string> = {
  waiting: '·',
  running: '▸',
  done: '✓',
  cached: '✓',
  skipped: '–',
  failed: '✗',
};
type Style = Parameters<typeof styleText>[0];
const styles: Record<StageStatus['state'], Style> = {
  waiting: 'dim',
  running: 'cyan',
  done: 'green',
  cached: 'green',
  skipped: 'dim',
  failed: 'red',
};

/** One line a stage, with live figures beside those at work, then what a person has to know. */
export function renderRun({ status, live }: Observation, colour: boolean): string {
  const paint = (style: Style, text: string): string => (colour ? styleText(style, text) : text);
  const lines = status.stages.map((stage) => {
    const figures = live.find((each) => each.stage === stage.name);
    const beside = stage.state === 'running' && figures ? liveFigures(figures) : (stage.note ?? '');
    const drawn = stage.state === 'running' && (figures?.losses?.length ?? 0) > 1;
    const curve = drawn ? `\n${' '.repeat(29)}${paint('cyan', sparkline(figures?.losses ?? []))}` : '';
    return (
      `${paint(styles[stage.state], signs[stage.state])} ${stage.name.padEnd(17)}${time(stage).padStart(8)}  ${beside}`.trimEnd() +
      curve
    );
  });
  for (const { stage, type, action } of status.incidents.slice(-3))
    lines.push(paint('yellow', `! ${stage}: ${type} → ${action}`));
  if (status.parked)
    lines.push(
      paint('yellow', `⏸ parked in ${status.parked.stage}: ${status.parked.reason}`),
      `  ${status.parked.advice}`,
    );
  return lines.join('\n');
}

const BARS = [...'▁▂▃▄▅▆▇█'];

/** From the lowest value to the highest; what is no number is a gap. */
export function sparkline(values: readonly number[]): string {
  const known = values.filter(Number.isFinite);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const bar = (value: number): string => {
    if (!Number.isFinite(value)) return ' ';
    const share = high > low ? (value - low) / (high - low) : 0;
    return BARS[Math.round(share * (BARS.length - 1))] ?? ' ';
  };
  return values.map(bar).join('');
}

function time({ state, seconds }: StageStatus): string {
  if (state === 'cached') return 'cached';
  return seconds === null ? '' : `${seconds.toFixed(1)} s`;
}

export function liveFigures(figures: HeartbeatDetails): string {
  const {
    phase,
    step,
    steps,
    loss,
    tokensPerSecond,
    etaSeconds,
    samples,
    samplesDone,
    attempt,
    checkpointStep,
    goodput,
    gpus,
  } = figures;
  const said: string[] = [];
  if (samples !== null) said.push(`${samplesDone} of ${samples} answers`);
  else if (steps > 0) said.push(`step ${step}/${steps}`);
  else said.push(phase);
  if (loss !== null) said.push(`loss ${loss.toFixed(4)}`);
  if (tokensPerSecond !== null) said.push(`${Math.round(tokensPerSecond)} tokens/s`);
  if (etaSeconds !== null && etaSeconds > 0) said.push(`ETA ${Math.ceil(etaSeconds)} s`);
  if (gpus !== undefined && gpus.length > 0) said.push(gpuFigures(gpus));
  if (checkpointStep) said.push(`checkpoint ${checkpointStep}`);
  if (goodput !== undefined) said.push(`goodput ${Math.round(100 * goodput)} %`);
  if (attempt > 1) said.push(`attempt ${attempt}`);
  return said.join(' · ');
}

/** Of several GPUs the mean use, and the memory of the fullest, which is what limits the micro-batch. */
function gpuFigures(gpus: readonly GpuUse[]): string {
  const uses = gpus.flatMap(({ percent }) => percent ?? []);
  const memory = gpus.flatMap(({ memoryGib }) => memoryGib ?? []);
  const said = [gpus.length === 1 ? 'GPU' : `${gpus.length} GPUs`];
  if (uses.length > 0) said.push(`${Math.round(uses.reduce((sum, use) => sum + use, 0) / uses.length)} %`);
  if (memory.length > 0) said.push(`${Math.max(...memory).toFixed(1)} GiB`);
  return said.join(' ');
}

/** What is new since the last look, for a pipe: a line when a stage starts, ends, or has moved by a tenth. */
export class PlainLines {
  readonly #told = new Map<string, string>();

  *news({ status, live }: Observation): Generator<string> {
    for (const stage of status.stages) {
      if (stage.state === 'waiting' || this.#told.get(stage.name) === stage.state) continue;
      this.#told.set(stage.name, stage.state);
      if (stage.state === 'running') yield `${signs.running} ${stage.name}`;
      else
        yield `${signs[stage.state]} ${stage.name} ${time(stage)} ${stage.note ?? ''}`.replaceAll(/ +/g, ' ').trimEnd();
    }
    for (const figures of live) {
      const key = `${figures.stage} live`;
      const mark = `${figures.attempt}/${figures.phase}/${tenth(figures)}`;
      if (this.#told.get(key) === mark || figures.stage === undefined) continue;
      this.#told.set(key, mark);
      yield `  ${figures.stage}: ${liveFigures(figures)}`;
    }
    for (const [index, { stage, type, action }] of status.incidents.entries()) {
      const key = `incident ${index}`;
      if (this.#told.has(key)) continue;
      this.#told.set(key, type);
      yield `! ${stage}: ${type} → ${action}`;
    }
    const parked = status.parked?.since ?? 'no';
    if (status.parked && this.#told.get('parked') !== parked)
      yield `⏸ parked in ${status.parked.stage}: ${status.parked.reason}\n  ${status.parked.advice}`;
    this.#told.set('parked', parked);
  }
}

function tenth({ step, steps, samples, samplesDone }: HeartbeatDetails): number {
  if (samples !== null && samples > 0) return Math.floor((10 * (samplesDone ?? 0)) / samples);
  return steps > 0 ? Math.floor((10 * step) / steps) : 0;
}
