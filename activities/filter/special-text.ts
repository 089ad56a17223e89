/** Refuses a data set whose texts hold special tokens literally: each would become that token, and nobody meant it. */
import { type ReverieFailure, rejected } from '../../contracts/failures.ts';
import type { SplitRow } from '../parquet/split-row.ts';
import type { ModelTokenizer } from '../tokenizer.ts';
import type { SplitName } from './lengths.ts';

const NAMED = 5;

export class SpecialTextFinder {
  readonly #tokenizer: ModelTokenizer;
  readonly #named: string[] = [];
  #rows = 0;

  constructor(tokenizer: ModelTokenizer) {
    this.#tokenizer = tokenizer;
  }

  look(split: SplitName, { id, prompt, response }: SplitRow): void {
    const texts = [
      ...prompt.map(({ role, content }) => ({ place: `the ${role} message`, text: content })),
      { place: 'the response', text: response },
    ];
    for (const { place, text } of texts) {
      const token = this.#tokenizer.specialText(text);
      if (token === null) continue;
      this.#rows++;
      if (this.#named.length < NAMED) this.#named.push(`${split} row ${id}: ${token} in ${place}`);
      return;
    }
  }

  /** The failure to throw; null when no row had any. */
  failure(): ReverieFailure | null {
    if (this.#rows === 0) return null;
    const more = this.#rows > this.#named.length ? ` and ${this.#rows - this.#named.length} more` : '';
    const many = this.#rows === 1 ? '1 row holds' : `${this.#rows} rows hold`;
    return rejected(
      'DatasetRejected',
      `${many} a special token of the model as literal text (${this.#named.join('; ')}${more}); expected text without special tokens; escape them, or leave these rows out of the data set.`,
    );
  }
}
