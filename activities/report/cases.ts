/** Chooses the answers that a report shows side by side: one of each kind, by hash and not by hand. */
import { sha256 } from '../../contracts/stage-keys.ts';
import { type AnswerPair, outcome, type PairOutcome } from '../eval/compare.ts';

const FEWEST = 3;
const MOST = 5;

/** Where tuning helped twice, where it hurt, and once each where it changed nothing. */
const wanted: readonly PairOutcome[] = ['only-tuned', 'only-tuned', 'only-base', 'both-correct', 'neither'];

/**
 * At most five pairs and, where there are as many, at least three, in order of row. Within a kind the SHA-256 of the
 * question's id decides, so that the choice is the same every time and nobody's.
 */
export function chooseCases(pairs: readonly AnswerPair[]): AnswerPair[] {
  const left = pairs
    .map((pair) => ({ pair, kind: outcome(pair), order: sha256(pair.tuned.id) }))
    .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : a.pair.tuned.index - b.pair.tuned.index));
  const chosen: AnswerPair[] = [];
  const take = (kind: PairOutcome | null): void => {
    const at = left.findIndex((item) => kind === null || item.kind === kind);
    const [item] = at < 0 ? [] : left.splice(at, 1);
    if (item) chosen.push(item.pair);
  };
  for (const kind of wanted) take(kind);
  while (chosen.length < Math.min(FEWEST, pairs.length)) take(null);
  return chosen.slice(0, MOST).sort((a, b) => a.tuned.index - b.tuned.index);
}
