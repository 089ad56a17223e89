/** The run as Markdown for the details pane of Temporal's UI: what happens, what happened, what to press. */
import { describeCost } from '../contracts/cost.ts';
import type { Progress, RunStatus, StageStatus } from '../contracts/workflow-api.ts';

const marks: Record<StageStatus['state'], string> = {
  waiting: '·',
  running: '▶',
  done: '✓',
  cached: '✓',
  skipped: '–',
  failed: '✗',
};

const INCIDENTS_SHOWN = 10;
/** A trainer's log can be in a message; its end says what went wrong. */
const MESSAGE_CHARACTERS = 2000;

export function details(status: RunStatus): string {
  const parts: string[] = [];
  if (status.parked) {
    const { stage, reason, holds, advice, until } = status.parked;
    parts.push(`### Parked in ${stage}`, fenced(reason), `**Kept:** ${holds}`, `**What to press:** ${advice}`);
    parts.push(
      `To give up, choose \`abort\`. The run waits until ${until}; then it ends as expired and its checkpoints stay.`,
    );
  }
  // A list: the pane sets tables without any space between their columns.
  parts.push(status.stages.map(line).join('\n'));
  const { progress } = status;
  const atWork = status.stages.some(({ name, state }) => name === progress?.stage && state === 'running');
  if (progress && atWork) parts.push(progressLine(progress));
  if (status.accuracy) parts.push(accuracyLine(status.accuracy));
  if (status.incidents.length > 0) {
    const items = status.incidents.slice(-INCIDENTS_SHOWN).map(({ at, stage, type, message, action }) => {
      const block = fenced(message).replaceAll(/^/gm, '  ');
      return `- ${at.slice(0, 19)}Z · ${stage} · **${type}** → ${action}\n\n${block}`;
    });
    parts.push(`### Incidents (${status.incidents.length})`, items.join('\n\n'));
  }
  if (status.gpuHours > 0) parts.push(`Cost so far: ${describeCost(status.cost)}.`);
  if (status.report) parts.push(`Report: \`${status.report}\``);
  return parts.join('\n\n');
}

function line({ name, state, seconds, note }: StageStatus): string {
  const time = state === 'cached' ? 'cached' : seconds === null ? null : duration(seconds);
  const said = [`${marks[state]} **${name}**`, time, note === null ? null : literal(note)];
  return `- ${said.filter((part) => part !== null).join(' · ')}`;
}

/** A note can quote names of people's files. */
const literal = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll(/[\\`*_[\]<>|]/g, '\\$&');

export function progressLine(progress: Progress): string {
  const {
    stage,
    phase,
    step,
    steps,
    loss,
    tokensPerSecond,
    etaSeconds,
    checkpointStep,
    samples,
    samplesDone,
    attempt,
    goodput,
  } = progress;
  const said = [`**${stage}** (${phase}, attempt ${attempt})`];
  if (samples !== null) said.push(`${samplesDone} of ${samples} answers`);
  else if (steps > 0) said.push(`step ${step} of ${steps}`);
  if (loss !== null) said.push(`loss ${loss.toFixed(4)}`);
  if (tokensPerSecond !== null) said.push(`${Math.round(tokensPerSecond).toLocaleString('en')} tokens/s`);
  if (etaSeconds !== null) said.push(`about ${duration(etaSeconds)} to go`);
  if (checkpointStep !== null) said.push(`last checkpoint at step ${checkpointStep}`);
  if (goodput !== undefined) said.push(`goodput ${Math.round(100 * goodput)} %`);
  return `${said.join(' · ')}, as of ${progress.at.slice(11, 19)} UTC`;
}

function accuracyLine({ base, tuned, n }: NonNullable<RunStatus['accuracy']>): string {
  const percent = (value: number | null): string => (value === null ? '…' : `${(100 * value).toFixed(1)} %`);
  return `Accuracy on ${n} questions: base ${percent(base)}, tuned ${percent(tuned)}.`;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Untrusted text stays text: in a code block whose fence is longer than any run of backticks within. */
function fenced(message: string): string {
  const text = wrapped(message.length > MESSAGE_CHARACTERS ? shortened(message) : message);
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

const shortened = (text: string): string =>
  `${text.slice(0, MESSAGE_CHARACTERS / 2)}\n…\n${text.slice(-MESSAGE_CHARACTERS / 2)}`;

/** The pane does not wrap code: lines break at a space where there is one. */
const wrapped = (text: string): string => text.replaceAll(/(?=.{61})(.{1,60})[ \t]/g, '$1\n');
