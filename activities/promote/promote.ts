/** Decides whether a tuned model becomes the champion: only a gain that its interval bears out counts. */
import type { PromoteInput } from '../../contracts/report.ts';
import type { PromoteSummary } from '../../contracts/stages.ts';
import type { PairedDifference } from '../../contracts/statistics.ts';
import { honoursConditionalWrites } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { type Champion, crown, newestChampion } from './champions.ts';

const UNGUARDED =
  'The store has no conditional writes, so a promotion to the same name at the same moment may have been lost; promote one at a time.';

export async function promote(
  store: Store,
  input: PromoteInput,
  difference: PairedDifference | null,
): Promise<PromoteSummary> {
  const { name, minGainPoints } = input.spec.promote;
  const refusal = reasonAgainst(difference, minGainPoints);
  if (difference === null || refusal !== null) {
    const current = await newestChampion(store, name);
    return { promoted: false, reason: refusal ?? '', champion: current === null ? null : title(current) };
  }
  const { workflowId, runId, startedAt } = input.run;
  const champion = await crown(store, {
    version: 1,
    name,
    train: input.train,
    weightsSha256: input.weightsSha256,
    model: input.model,
    dataset: input.dataset,
    evaluation: {
      base: input.evalBase,
      tuned: input.evalTuned,
      questions: difference.questions,
      gain: difference.gain,
      low: difference.interval.low,
      high: difference.interval.high,
      pValue: difference.pValue,
    },
    run: { workflowId, runId, startedAt },
  });
  const reason = `Promoted to ${title(champion)}: ${gainInWords(difference)}, whose lower bound lies above ${minGainPoints}.`;
  return {
    promoted: true,
    reason: (await honoursConditionalWrites(store)) ? reason : `${reason} ${UNGUARDED}`,
    champion: title(champion),
  };
}

/** Null when the model may be promoted. */
function reasonAgainst(difference: PairedDifference | null, minGainPoints: number): string | null {
  if (difference === null) {
    return 'Not promoted: no question could be graded for both base and tuned model; expected a measured gain.';
  }
  if (100 * difference.interval.low > minGainPoints) return null;
  return `Not promoted: ${gainInWords(difference)}; expected a lower bound above ${minGainPoints} points (promote.minGainPoints).`;
}

function gainInWords({ gain, interval, questions }: PairedDifference): string {
  const points = (share: number): string => (100 * share).toFixed(1);
  return `the gain over base is ${points(gain)} points (95 % interval ${points(interval.low)} to ${points(interval.high)}, ${questions} questions)`;
}

const title = ({ name, number }: Champion): string => `${name} #${number}`;
