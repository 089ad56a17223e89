/** The run spec as it holds now: as it was resolved, with what verdicts and people have changed since. */
import type { RunSpec } from '../contracts/run-spec.ts';
import { applyChanges, parseRunSpec } from '../contracts/spec-problems.ts';
import type { ResumeRequest } from '../contracts/workflow-api.ts';

export type Changes = NonNullable<ResumeRequest['changes']>;

export class SpecInForce {
  readonly #changes: Changes[] = [];
  #spec: RunSpec | null;

  /** Until `resolve` has ended, the input as this code reads it holds. */
  constructor(input: unknown) {
    const parsed = parseRunSpec(input);
    this.#spec = parsed.ok ? parsed.spec : null;
  }

  /** Null while the only input is one that `resolve` refuses. */
  get known(): RunSpec | null {
    return this.#spec;
  }

  get current(): RunSpec {
    if (this.#spec === null) throw new TypeError('no run spec yet; expected stages to begin after resolve');
    return this.#spec;
  }

  /** Takes what `resolve` returned, once: history then keeps the defaults that the run began with. */
  adopt(resolved: RunSpec): void {
    this.#spec = this.#changes.reduce(changed, resolved);
  }

  change(changes: Changes): void {
    this.#changes.push(changes);
    if (this.#spec !== null) this.#spec = changed(this.#spec, changes);
  }

  setTrain(train: Partial<RunSpec['train']>): void {
    const spec = this.current;
    this.#spec = { ...spec, train: { ...spec.train, ...train } };
  }
}

/** Refused by the validator when they were made; after a reset to an earlier point they may fit no longer. */
function changed(spec: RunSpec, changes: Changes): RunSpec {
  const applied = applyChanges(spec, changes);
  return applied.ok ? applied.spec : spec;
}
