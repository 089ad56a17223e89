/**
 * The attempts at one training, as small records in the store beside its checkpoints: who started from which step, where
 * the time went, and whether they ended with a word. Three in a row from one step, the first two dead without a word,
 * are no progress.
 */
import { z } from 'zod';
import { ReverieFailure } from '../../contracts/failures.ts';
import { noticeTypes } from '../../contracts/workflow-api.ts';
import type { Store } from '../store/store.ts';

const seconds = z.number().min(0);
const count = z.int().min(0);

const attemptSchema = z.strictObject({
  version: z.literal(2),
  /** In order of start: clocks of hosts differ, and are set back. */
  number: z.int().min(1),
  prefix: z.string(),
  workflowId: z.string(),
  attempt: z.int(),
  host: z.string(),
  gpus: count,
  startedAt: z.iso.datetime(),
  /** Null until a checkpoint, or none, was found. */
  fromStep: count.nullable(),
  leaveOutSteps: z.array(count),
  /** What decides a loss to the bit beside the training's key; null until the trainer has told its plan. */
  setting: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullable(),
  /** The newest step done. */
  step: count,
  /** The newest step that an earlier attempt had done: up to here, steps are done again. */
  doneBefore: count,
  seconds: z.strictObject({
    productive: seconds,
    validation: seconds,
    replayed: seconds,
    lost: seconds,
    saving: seconds,
    starting: seconds,
    waitingForData: seconds,
    finishing: seconds,
  }),
  /** Of the newest steps, exact: what a later attempt compares with when it does them again. */
  losses: z.array(z.tuple([count, z.number()])),
  replays: z.strictObject({
    steps: count,
    compared: count,
    differing: count,
    comparedToRounding: count,
    largestDifference: z.number().nullable(),
  }),
  notices: z.array(z.strictObject({ type: z.enum(noticeTypes), message: z.string(), at: z.string() })),
  /** Null while it runs, and for ever after it died without a word. */
  ended: z.strictObject({ at: z.string(), how: z.string(), step: z.int().nullable() }).nullable(),
});
export type Attempt = z.infer<typeof attemptSchema>;

const SILENT_BEFORE = 2;

export class Attempts {
  readonly #store: Store;
  readonly #root: string;

  constructor(store: Store, trainKey: string) {
    this.#store = store;
    this.#root = `attempts/${trainKey}/`;
  }

  /** Oldest first. Records that do not parse, as of another version, are left out: they decide nothing. */
  async list(): Promise<Attempt[]> {
    const attempts: Attempt[] = [];
    for await (const { key } of this.#store.list(this.#root)) {
      const bytes = await this.#store.get(key);
      const parsed = bytes && attemptSchema.safeParse(parseJson(bytes));
      if (parsed?.success) attempts.push(parsed.data);
    }
    return attempts.sort((a, b) => a.number - b.number || (a.prefix < b.prefix ? -1 : 1));
  }

  async put(attempt: Attempt): Promise<void> {
    await this.#store.put(`${this.#root}${attempt.prefix}.json`, Buffer.from(JSON.stringify(attempt)));
  }

  /**
   * Throws NoProgress when the two newest attempts of this run, `except` aside, began at `fromStep` and died without a
   * word. Told once, that silence no longer counts: the run waits for a person now, and their resume has to find a way.
   */
  async assertProgress(workflowId: string, fromStep: number, except: string): Promise<void> {
    const mine = (await this.list()).filter((attempt) => attempt.workflowId === workflowId);
    const begun = mine.filter((attempt) => attempt.prefix !== except && attempt.fromStep !== null);
    const before = begun.slice(-SILENT_BEFORE);
    const stuck =
      before.length === SILENT_BEFORE && before.every((at) => at.ended === null && at.fromStep === fromStep);
    if (!stuck) return;
    const ended = { at: new Date().toISOString(), how: 'forgiven', step: null };
    for (const attempt of begun.filter((each) => each.ended === null)) await this.put({ ...attempt, ended });
    throw new ReverieFailure(
      'NoProgress',
      `Two attempts in a row started from step ${fromStep} and died without a word (on ${before.map(({ host }) => host).join(' and ')}); expected a checkpoint beyond it; look at those hosts (out of memory? reclaimed at once?), or set train.checkpointEverySteps lower, then resume.`,
      { step: fromStep, attempts: SILENT_BEFORE },
    );
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return null;
  }
}
