/** What was read is not what was written: told apart from a store that fails and from faults of our own. */
export class Damaged extends Error {
  /** `reason` completes the sentence "it is damaged: …". */
  constructor(reason: string) {
    super(reason);
    this.name = 'Damaged';
  }
}
