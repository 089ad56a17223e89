/** Takes stages to their ends: through verdicts, waits, and parking for a person. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  sleep,
} from '@temporalio/workflow';
import type { RunSpec } from '../contracts/run-spec.ts';
import type { StageName, StageResult } from '../contracts/stages.ts';
import { advise } from './advice.ts';
import { type Decision, decide, type FailureCounts, type StageFailure } from './decisions.ts';
import { failureOf, runFailure } from './failure-of.ts';
import type { Notifier } from './notifier.ts';
import type { RunRecord } from './run-record.ts';
import type { SpecInForce } from './spec-in-force.ts';

/** One try at a stage, whose first activity holds itself back for so long. */
type Attempt<T> = (waitSeconds: number) => Promise<T>;

/** An attempt under way. */
interface UnderWay {
  scope: CancellationScope;
  /** Until then it only waits. */
  notBeforeMs: number;
  isOutdated: boolean;
}

export class StageRunner {
  readonly #run: RunRecord;
  readonly #spec: SpecInForce;
  readonly #show: () => void;
  readonly #notifier: Pick<Notifier, 'tell'>;
  readonly #frugal: boolean;
  readonly #underWay = new Set<UnderWay>();
  readonly #atWork = new Set<Promise<void>>();
  #resumes = 0;

  constructor(run: RunRecord, spec: SpecInForce, show: () => void, notifier: Pick<Notifier, 'tell'>, frugal: boolean) {
    this.#run = run;
    this.#spec = spec;
    this.#show = show;
    this.#notifier = notifier;
    this.#frugal = frugal;
  }

  /** An attempt that still waits is made anew, since changes hold from the next attempt on. */
  takeChanges(): void {
    for (const attempt of this.#underWay) {
      if (Date.now() >= attempt.notBeforeMs) continue;
      attempt.isOutdated = true;
      attempt.scope.cancel();
    }
  }

  /** Every stage that is parked goes on. */
  resume(): void {
    this.#resumes++;
  }

  /** Runs the whole in a scope of its own, again when a stage starts it over; returns with no stage left at work. */
  async fromTheTop<T>(dag: () => Promise<T>): Promise<T> {
    for (;;) {
      const scope = new CancellationScope();
      try {
        return await scope.run(dag);
      } catch (error) {
        scope.cancel();
        await Promise.all(this.#atWork);
        if (!(error instanceof StartOver)) throw error;
      }
    }
  }

  /** One stage that leaves an artifact; `note` is its line in the table. */
  async artifact<S>(
    name: StageName,
    attempt: Attempt<StageResult<S>>,
    note: (summary: S) => string,
  ): Promise<StageResult<S>> {
    const result = await this.stage(name, attempt);
    this.#run.finish(name, result, note(result.summary));
    this.#show();
    return result;
  }

  /** One stage, to its end; throws only what ends the run or starts it over. */
  stage<T>(name: StageName, attempt: Attempt<T>): Promise<T> {
    const ending = this.#toItsEnd(name, attempt);
    const settled = ending.then(
      () => {},
      () => {},
    );
    this.#atWork.add(settled);
    void settled.then(() => this.#atWork.delete(settled));
    return ending;
  }

  async #toItsEnd<T>(name: StageName, attempt: Attempt<T>): Promise<T> {
    const status = this.#run.stage(name);
    let notBeforeMs = 0;
    for (;;) {
      status.state = 'running';
      if (notBeforeMs > 0) status.note = `tried again from ${clockTime(notBeforeMs)} on`;
      this.#show();
      const underWay = { scope: new CancellationScope(), notBeforeMs, isOutdated: false };
      this.#underWay.add(underWay);
      try {
        const waitSeconds = Math.max(0, (notBeforeMs - Date.now()) / 1000);
        return await underWay.scope.run(() => attempt(waitSeconds));
      } catch (error) {
        if (underWay.isOutdated) continue;
        status.state = isCancellation(error) ? 'waiting' : 'failed';
        // What is not an activity's is a fault of this code: the workflow task fails, and a mended worker goes on.
        if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
        // Cancelled just before it waited, which the next try is told.
        if (isHeldBack(error)) continue;
        notBeforeMs = await this.#judge(name, failureOf(error));
      } finally {
        this.#underWay.delete(underWay);
        status.note = null;
      }
    }
  }

  /** Returns the time before which the stage is not to be tried again, or 0. */
  async #judge(name: StageName, failure: StageFailure): Promise<number> {
    const spec = this.#spec.known;
    if (spec === null) throw runFailure(failure.type ?? 'Failed', failure.message);
    const counts = this.#run.counts(name);
    const decided = decide(failure, name, counts, spec);
    const decision = decided.kind === 'fail' && isFromBeforeReset(failure, counts) ? afterReset : decided;
    this.#run.judged(name, failure, decision, new Date());
    if (decision.kind === 'fail') throw runFailure(failure.type ?? 'Failed', failure.message);
    if (decision.train) this.#spec.setTrain(decision.train);
    if (decision.leaveOutStep !== undefined) this.#run.leaveOutSteps.push(decision.leaveOutStep);
    if (decision.kind === 'park') await this.#park(name, failure, spec);
    else if (decision.delaySeconds > 0 && !this.#frugal) {
      this.#show();
      await sleep(decision.delaySeconds * 1000, { summary: `Before ${name} is tried again` });
    }
    // All others are hits, and what was found damaged is made anew.
    if (failure.type === 'ArtifactMissing') throw new StartOver();
    return this.#frugal && decision.delaySeconds > 0 ? Date.now() + 1000 * decision.delaySeconds : 0;
  }

  async #park(stage: StageName, failure: StageFailure, { policy }: RunSpec): Promise<void> {
    const since = new Date();
    const waitMs = policy.parkDeadlineHours * 3600_000;
    const { seenStep } = this.#run;
    this.#run.park({
      stage,
      reason: failure.message,
      holds: `every finished stage, and ${seenStep === null ? 'no checkpoint yet' : `the checkpoint of step ${seenStep}`}`,
      advice: advise(failure, stage),
      since: since.toISOString(),
      until: new Date(since.getTime() + waitMs).toISOString(),
    });
    this.#show();
    this.#notifier.tell('parked', failure.message);
    const before = this.#resumes;
    let resumed: boolean;
    try {
      resumed = await condition(() => this.#resumes > before, waitMs, { summary: `${stage} waits for a person` });
      if (!resumed && !isSeenLate(since.getTime() + waitMs)) throw expired(stage, failure, policy.parkDeadlineHours);
    } finally {
      this.#run.unpark(stage);
    }
    this.#run.forgive(stage);
    // Pressing resume after a loss accepts it: training goes on from what the store has.
    if (resumed && failure.type === 'CheckpointLost') this.#run.seenStep = null;
  }
}

/**
 * A run that was reset to the task that ended it sees the same end again, and would end again. But the task's own time
 * is new: what it sees this late was seen before, and a person has pressed Reset for it to go on.
 */
const LATE_MS = 30_000;
const isSeenLate = (atMs: number): boolean => Date.now() - atMs > LATE_MS;

const clockTime = (ms: number): string => `${new Date(ms).toISOString().slice(11, 19)} UTC`;

/** Once a stage, lest a host whose clock is behind have its failures tried again for ever. */
function isFromBeforeReset({ details }: StageFailure, counts: FailureCounts): boolean {
  const tried = Object.values(counts).some((count) => count > 0);
  return !tried && typeof details.at === 'string' && isSeenLate(Date.parse(details.at));
}

const isHeldBack = ({ cause }: ActivityFailure): boolean =>
  cause instanceof ApplicationFailure && cause.type === 'HeldBack';

const afterReset: Decision = {
  kind: 'again',
  verdict: 'retry',
  action: 'tries again after a reset: what was wrong may be mended',
  delaySeconds: 0,
};

/** An artifact was missing after it had been served. */
class StartOver extends Error {}

function expired(stage: StageName, { message }: StageFailure, hours: number): Error {
  return runFailure('Expired', `Nobody resumed the run within ${hours} h. It was parked in ${stage}: ${message}`);
}
