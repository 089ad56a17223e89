/** The run as Markdown for the details pane of Temporal's UI: what happens, what happened, what to press. */
import { describeCost } from '../contracts/cost.ts';
import type { Incident, ParkedStatus, Progress, RunStatus, StageStatus } from '../contracts/workflow-api.ts';
import { ABORT, adviseEnded } from './advice.ts';

const marks: Record<StageStatus['state'], string> = {
  waiting: '·',
  running: '▶',
  done: '✓',
  cached: '✓',
  skipped: '–',
  failed: '✗',
};

const INCIDENTS_SHOWN = 10;
/** A trainer's log can be in a message; its end says what went wrong. The UI carries the whole text in an address. */
const REASON_CHARACTERS = 1200;
const MESSAGE_CHARACTERS = 300;

export function details(status: RunStatus): string {
  const { parked, progress, incidents, stages } = status;
  const parts = parked ? parkedParts(parked) : endedParts(status);
  // A list: the pane sets tables without any space between their columns.
  parts.push(stages.map(line).join('\n'));
  const atWork = stages.some(({ name, state }) => name === progress?.stage && state === 'running');
  if (progress && atWork) parts.push(progressLines(progress));
  if (status.accuracy) parts.push(accuracyLine(status.accuracy));
  if (incidents.length > 0) {
    const items = incidents.slice(-INCIDENTS_SHOWN).map((incident) => incidentItem(incident, parked?.reason ?? null));
    parts.push(`### Incidents (${incidents.length})`, items.join('\n\n'));
  }
  if (status.gpuHours > 0) parts.push(`Cost so far: ${describeCost(status.cost)}.`);
  if (status.report) parts.push(`Report: \`${status.report}\``);
  return parts.join('\n\n');
}

function parkedParts({ stage, reason, holds, advice, until }: ParkedStatus): string[] {
  return [
    `### Parked in ${stage}: the run waits for you`,
    fenced(reason, REASON_CHARACTERS),
    `**What to do:** ${advice}`,
    `**Kept meanwhile:** ${holds}.`,
    `**To give up:** ${ABORT}. If nobody comes by ${minute(until)}, the run ends as expired; what is kept stays.`,
  ];
}

function endedParts({ state, incidents }: RunStatus): string[] {
  const advice = adviseEnded(state, incidents.at(-1)?.type ?? null);
  return advice === null ? [] : [`### The run has ended: ${state}`, `**What to do:** ${advice}`];
}

function incidentItem({ at, stage, type, message, action }: Incident, shown: string | null): string {
  const head = `- ${minute(at)} · ${stage} · **${type}** → ${action}`;
  return message === shown ? head : `${head}\n\n${fenced(message, MESSAGE_CHARACTERS).replaceAll(/^/gm, '  ')}`;
}

/** To the minute, as a person reads it. */
const minute = (iso: string): string => `${iso.slice(0, 16).replace('T', ' ')} UTC`;

function line({ name, state, seconds, note }: StageStatus): string {
  const time = state === 'cached' ? 'cached' : seconds === null ? null : duration(seconds);
  const said = [`${marks[state]} **${name}**`, time, note === null ? null : literal(note)];
  return `- ${said.filter((part) => part !== null).join(' · ')}`;
}

/** A note can quote names of people's files. */
const literal = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll(/[\\`*_[\]<>|]/g, '\\$&');

export function progressLines(progress: Progress): string {
  const { stage, phase, step, steps, loss, tokensPerSecond, etaSeconds, samples, samplesDone, attempt, goodput } =
    progress;
  const where = [`**${stage}**`];
  if (samples !== null) where.push(`${samplesDone} of ${samples} answers`);
  else if (steps > 0) where.push(`step ${step} of ${steps}`);
  if (etaSeconds !== null) where.push(`about ${duration(etaSeconds)} to go`);
  const figures = [`phase ${phase}, attempt ${attempt}`];
  if (loss !== null) figures.push(`loss ${loss.toFixed(4)}`);
  if (tokensPerSecond !== null) figures.push(`${Math.round(tokensPerSecond).toLocaleString('en')} tokens/s`);
  if (goodput !== undefined) figures.push(`goodput ${Math.round(100 * goodput)} %`);
  const lines = [`${where.join(' · ')}, as of ${progress.at.slice(11, 19)} UTC`, '', `- ${figures.join(' · ')}`];
  if (stage === 'train') lines.push(`- ${checkpointLine(progress)}`);
  lines.push('- live figures: **Pending Activities**, Heartbeat Details');
  return lines.join('\n');
}

/** Its age is that at the note: nothing here ticks. */
function checkpointLine({ checkpointStep, checkpointAt, at }: Progress): string {
  if (!checkpointStep) return 'no checkpoint yet';
  if (!checkpointAt) return `last checkpoint: step ${checkpointStep}, verified when this attempt began from it`;
  const age = Math.max(0, (Date.parse(at) - Date.parse(checkpointAt)) / 1000);
  return `last checkpoint: step ${checkpointStep}, ${duration(age)} old at this note, in the store with every file hashed, verified again before use`;
}

function accuracyLine({ base, tuned, n }: NonNullable<RunStatus['accuracy']>): string {
  const percent = (value: number | null): string => (value === null ? 'to come' : `${(100 * value).toFixed(1)} %`);
  return `Accuracy on ${n} questions: base ${percent(base)}, tuned ${percent(tuned)}.`;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Untrusted text stays text: in a code block whose fence is longer than any run of backticks within. */
function fenced(message: string, most: number): string {
  const text = wrapped(message.length > most ? shortened(message, most) : message).trimEnd();
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

const shortened = (text: string, most: number): string => `${text.slice(0, most / 2)}\n…\n${text.slice(-most / 2)}`;

/** The pane does not wrap code: lines break at a space where there is one, and long paths after a slash. */
const wrapped = (text: string): string =>
  text.replaceAll(/(?=.{61})(.{1,60})[ \t]/g, '$1\n').replaceAll(/(?=\S{61})(\S{1,59}\/)/g, '$1\n');
