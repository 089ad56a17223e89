/** What a schedule starts: the run of a night, which must not keep the nights after it from theirs. */
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import { parseRunSpec } from '../../contracts/spec-problems.ts';

const HOUR_MS = 3600_000;
const LONGEST_HOURS = 72;

/**
 * A night that waits for a person ends (`expired`, its checkpoints kept) before the next one begins, unless the spec says
 * how long it waits: half the time between nights, which leaves the other half to the work before it parked.
 */
export function withParkDeadline(spec: RunSpecInput, gapMs: number | null): RunSpecInput {
  if (gapMs === null || spec.policy?.parkDeadlineHours !== undefined) return spec;
  const parkDeadlineHours = Math.min(LONGEST_HOURS, gapMs / HOUR_MS / 2);
  return { ...spec, policy: { ...spec.policy, parkDeadlineHours } };
}

/** How long a parked night waits, and what that means for the nights after it. */
export function aboutParking(spec: unknown, gapMs: number | null): string {
  const parsed = parseRunSpec(spec);
  if (!parsed.ok) return `Its run spec is refused: ${parsed.problems.join(' ')}`;
  const hours = parsed.spec.policy.parkDeadlineHours;
  const said = `A night that waits for a person expires after ${rounded(hours)} h (policy.parkDeadlineHours); its checkpoints stay.`;
  if (gapMs === null || hours * HOUR_MS < gapMs) return said;
  return `${said} That is not less than the ${rounded(gapMs / HOUR_MS)} h between nights: it delays the next, and those after may be dropped.`;
}

const rounded = (hours: number): number => Number(hours.toFixed(2));
