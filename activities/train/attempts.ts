/**
 * The attempts at one training, as small records in the store beside its checkpoints: who started from which step, and
 * whether they ended with a word. Three in a row from one step, the first two dead without a word, are no progress.
 */
import { z } from 'zod';
import { ReverieFailure } from '../../contracts/failures.ts';
import type { Store } from '../store/store.ts';

const attemptSchema = z.strictObject({
  version: z.literal(1),
  workflowId: z.string(),
  attempt: z.int(),
  host: z.string(),
  fromStep: z.int().min(0),
  startedAt: z.string(),
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

  /** Oldest first. Records that do not parse are left out: they decide nothing. */
  async list(): Promise<Attempt[]> {
    const attempts: Attempt[] = [];
    for await (const { key } of this.#store.list(this.#root)) {
      const bytes = await this.#store.get(key);
      const parsed = bytes && attemptSchema.safeParse(parseJson(bytes));
      if (parsed?.success) attempts.push(parsed.data);
    }
    return attempts.sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  }

  async put(prefix: string, attempt: Attempt): Promise<void> {
    await this.#store.put(`${this.#root}${prefix}.json`, Buffer.from(JSON.stringify(attempt)));
  }

  /**
   * Throws NoProgress when the two newest attempts of this run began at `fromStep` and died without a word. Told once,
   * that silence no longer counts: the run waits for a person now, and their resume has to find a way on.
   */
  async assertProgress(workflowId: string, fromStep: number): Promise<void> {
    const before = (await this.list()).filter((attempt) => attempt.workflowId === workflowId).slice(-SILENT_BEFORE);
    const stuck =
      before.length === SILENT_BEFORE && before.every((at) => at.ended === null && at.fromStep === fromStep);
    if (!stuck) return;
    await this.#forgive(workflowId);
    throw new ReverieFailure(
      'NoProgress',
      `Two attempts in a row started from step ${fromStep} and died without a word (on ${before.map(({ host }) => host).join(' and ')}); expected a checkpoint beyond it; look at those hosts (out of memory? reclaimed at once?), or set train.checkpointEverySteps lower, then resume.`,
      { step: fromStep, attempts: SILENT_BEFORE },
    );
  }

  async #forgive(workflowId: string): Promise<void> {
    for await (const { key } of this.#store.list(this.#root)) {
      const bytes = await this.#store.get(key);
      const parsed = bytes && attemptSchema.safeParse(parseJson(bytes));
      if (!parsed?.success || parsed.data.workflowId !== workflowId || parsed.data.ended !== null) continue;
      const ended = { at: new Date().toISOString(), how: 'forgiven', step: null };
      await this.#store.put(key, Buffer.from(JSON.stringify({ ...parsed.data, ended })));
    }
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return null;
  }
}
