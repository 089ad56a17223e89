/** The record of the attempt under way: fed by its trainer's events, and put into the store often enough to outlive it. */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { isReverieFailure } from '../../contracts/failures.ts';
import { goodput } from '../../contracts/ledger.ts';
import type { TrainingStory } from '../../contracts/stages.ts';
import { eventSchema, type TrainerEvent } from '../../contracts/trainer.ts';
import type { Notice } from '../../contracts/workflow-api.ts';
import { Account, type AttemptHead, newRecord } from './account.ts';
import type { Attempt, Attempts } from './attempts.ts';
import { trainingLedger, wallOf } from './ledger.ts';

const PUT_EVERY_SECONDS = 5;

interface AttemptLogOptions {
  attempts: Attempts;
  head: Omit<AttemptHead, 'startedAt'>;
  log: Logger;
  onNotice: (notice: Notice) => void;
}

export class AttemptLog {
  readonly #attempts: Attempts;
  readonly #head: AttemptLogOptions['head'];
  readonly #log: Logger;
  readonly #onNotice: (notice: Notice) => void;
  #startedMs = performance.now();
  #earlier: Attempt[] = [];
  #record: Attempt | null = null;
  #account: Account | null = null;
  #putAt = 0;
  #putting: Promise<void> = Promise.resolve();

  constructor({ attempts, head, log, onNotice }: AttemptLogOptions) {
    this.#attempts = attempts;
    this.#head = head;
    this.#log = log;
    this.#onNotice = onNotice;
  }

  /** An attempt that never gets to its trainer has taken time as well. */
  async begin(): Promise<void> {
    this.#startedMs = performance.now();
    const head = { ...this.#head, startedAt: new Date().toISOString() };
    this.#earlier = await this.#attempts.list();
    this.#record = newRecord(head, this.#earlier);
    this.#account = new Account(this.#record, this.#earlier);
    await this.#attempts.put(this.#record);
  }

  /** When the first attempt at this training began. */
  get trainingBegan(): Date {
    const first = this.#earlier[0] ?? this.#record;
    return first === null ? new Date() : new Date(first.startedAt);
  }

  /** Among all attempts at this training, from 1. */
  get number(): number {
    return this.#record?.number ?? 1;
  }

  /** Throws NoProgress; see there. */
  async startsFrom(step: number): Promise<void> {
    await this.#attempts.assertProgress(this.#head.workflowId, step, this.#head.prefix);
    if (this.#record === null) return;
    Object.assign(this.#record, { fromStep: step, step });
    await this.#attempts.put(this.#record);
  }

  /** Returns the share of the training's time, this attempt's included, in which it came forward. */
  take(event: TrainerEvent): number | null {
    const at = this.#seconds();
    const notice = this.#account?.take(event, at) ?? null;
    if (notice !== null) this.#onNotice(notice);
    if (at - this.#putAt >= PUT_EVERY_SECONDS) this.putSoon();
    if (this.#record === null || this.#account === null) return null;
    const ledger = trainingLedger([...this.#earlier, { ...this.#record, seconds: this.#account.spent(at) }]);
    return ledger && goodput(ledger);
  }

  /** Of all this run's attempts at the training, this one up to now included. */
  gpuSeconds(): number {
    const { workflowId, gpus } = this.#head;
    const earlier = this.#earlier.filter((attempt) => attempt.workflowId === workflowId);
    return earlier.reduce((sum, attempt) => sum + wallOf(attempt) * attempt.gpus, this.#seconds() * gpus);
  }

  notice(notice: Notice): void {
    this.#account?.notice(notice);
    this.#onNotice(notice);
  }

  /** Behind the work, one at a time; a record that does not arrive is only a record. */
  putSoon(): void {
    const at = this.#seconds();
    const record = this.#account?.record(at);
    if (record === undefined) return;
    this.#putAt = at;
    this.#putting = this.#putting.then(() => this.#put(record));
  }

  /** A trainer killed from outside left no word either: attempts that die so in a row are no progress. */
  async failed(error: unknown): Promise<void> {
    const named = isReverieFailure(error);
    const killed = named && error.type === 'Preempted' && 'killed' in error.details && error.details.killed === true;
    await this.end(killed ? null : named ? error.type : error instanceof Error ? error.name : 'error');
  }

  /** `how` is null where it ended without a word of its own. */
  async end(how: string | null): Promise<void> {
    await this.#putting;
    const record = this.#account?.record(this.#seconds(), how === 'done' ? 'well' : 'badly');
    if (record === undefined) return;
    if (how !== null) record.ended = { at: new Date().toISOString(), how, step: record.step };
    await this.#put(record);
  }

  /** Over all attempts at this training, the dead ones included. */
  async story(): Promise<TrainingStory | null> {
    const all = await this.#attempts.list();
    const mine = all.filter(({ workflowId }) => workflowId === this.#head.workflowId);
    const ledger = trainingLedger(all);
    if (ledger === null) return null;
    const notices = mine.flatMap((attempt) => attempt.notices);
    return { ledger, notices, gpuSeconds: trainingLedger(mine)?.gpuSeconds ?? 0 };
  }

  async #put(record: Attempt): Promise<void> {
    await this.#attempts
      .put(record)
      .catch((err: unknown) => this.#log.warn({ err }, "the attempt's record was not put into the store"));
  }

  #seconds = (): number => (performance.now() - this.#startedMs) / 1000;
}

/**
 * Completes the record of an attempt that died on this host from its own events, which tell more than its last record.
 * What cannot be read is left as it is.
 */
export async function completeRecord(attempts: Attempts, prefix: string, eventsFile: string): Promise<void> {
  const all = await attempts.list();
  const index = all.findIndex((attempt) => attempt.prefix === prefix);
  const dead = all[index];
  const text = await readFile(eventsFile, 'utf8').catch(() => null);
  if (dead === undefined || dead.ended !== null || text === null) return;
  const account = new Account({ ...dead, notices: [...dead.notices] }, all.slice(0, index));
  let at = 0;
  for (const line of text.split('\n').slice(0, -1)) {
    const event = eventSchema.safeParse(JSON.parse(line));
    if (!event.success) return;
    // One host, one clock, unless it was set back.
    at = Math.max(at, event.data.at - Date.parse(dead.startedAt) / 1000);
    account.take(event.data, at);
  }
  const record = account.record(at);
  if (wallOf(record) > wallOf(dead)) await attempts.put(record);
}
