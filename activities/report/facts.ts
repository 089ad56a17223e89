/** Everything that a report states, as data: `report.json`, from which every rendering is made. */
import type { ReportInput } from '../../contracts/report.ts';
import type { EvalSummary } from '../../contracts/stages.ts';
import {
  type GainVerdict,
  gainVerdict,
  type Interval,
  type PairedDifference,
  wilsonInterval,
} from '../../contracts/statistics.ts';
import type { HistoryRecord } from '../../contracts/trainer.ts';
import { type AnswerPair, comparePairs, countOutcomes, type PairOutcome, pairAnswers } from '../eval/compare.ts';
import type { StoredEvaluation } from '../eval/read-evaluation.ts';
import { type GradedPrediction, type QualitativeAnswer, questionOf } from '../eval/results.ts';
import type { RevealOrder } from '../eval/reveal-order.ts';
import type { LengthBin } from '../filter/lengths.ts';
import { chooseCases } from './cases.ts';
import { type TrainingCurve, trainingCurve } from './curve.ts';
import { type ChangedValue, changedValues, type DepartureId, departures } from './departures.ts';
import { type GoodputFacts, goodputFacts } from './goodput.ts';
import { type Night, sameAs } from './nights.ts';

/** What the report reads from artifacts. */
export interface ReportFiles {
  history: HistoryRecord[];
  lengths: LengthBin[];
  base: StoredEvaluation;
  tuned: StoredEvaluation;
}

export interface Accuracy extends EvalSummary {
  interval: Interval | null;
  /** Share of the samples that could be graded. */
  coverage: number | null;
}

export interface AnswerFacts {
  text: string;
  verdict: GradedPrediction['grade']['verdict'];
  extracted: string | null;
}

export interface CaseFacts {
  id: string;
  question: string;
  reference: string;
  base: AnswerFacts;
  tuned: AnswerFacts;
}

export interface ReportFacts extends ReportInput {
  version: 1;
  curve: TrainingCurve;
  /** Null where no attempt has left an account. */
  goodput: GoodputFacts | null;
  lengths: LengthBin[];
  accuracy: { base: Accuracy; tuned: Accuracy };
  /** Null when no question could be graded for both models. */
  difference: PairedDifference | null;
  verdict: GainVerdict | 'unmeasured';
  /** Questions that both models answered, by who was right. */
  outcomes: Record<PairOutcome, number>;
  cases: CaseFacts[];
  qualitative: { prompt: string; base: string | null; tuned: string | null }[];
  revealOrder: { base: RevealOrder; tuned: RevealOrder };
  /** The last runs of the same family before this one, oldest first. */
  nights: Night[];
  /** Of an unchanged run: the one that made what it was served. */
  earlier: Night | null;
  departures: DepartureId[];
  changedValues: ChangedValue[];
}

export function collectFacts(input: ReportInput, files: ReportFiles, nights: Night[] = []): ReportFacts {
  const pairs = pairAnswers(files.base.predictions, files.tuned.predictions);
  const difference = comparePairs(pairs);
  return {
    version: 1,
    ...input,
    curve: trainingCurve(files.history, input.ledger?.restarts),
    goodput: goodputFacts(input.ledger, input.summaries.train, input.spec),
    lengths: files.lengths,
    accuracy: { base: withInterval(input.summaries.evalBase), tuned: withInterval(input.summaries.evalTuned) },
    difference,
    verdict: difference ? gainVerdict(difference) : 'unmeasured',
    outcomes: countOutcomes(pairs),
    cases: chooseCases(pairs).map(toCase),
    qualitative: sideBySide(files.base.qualitative, files.tuned.qualitative),
    revealOrder: { base: files.base.revealOrder, tuned: files.tuned.revealOrder },
    nights,
    earlier: sameAs(input, nights),
    departures: departures(input.spec),
    changedValues: changedValues(input.spec),
  };
}

const inputFields: Record<keyof ReportInput, true> = {
  spec: true,
  run: true,
  sources: true,
  artifacts: true,
  summaries: true,
  stages: true,
  incidents: true,
  attempts: true,
  gpuHours: true,
  cost: true,
  ledger: true,
  promote: true,
};

/** What a report was made from, and its key is taken over. */
export const inputOf = (facts: ReportFacts): ReportInput =>
  Object.fromEntries(
    Object.entries(facts).filter(([name]) => Object.hasOwn(inputFields, name)),
  ) as unknown as ReportInput;

function withInterval(summary: EvalSummary): Accuracy {
  const graded = summary.correct + summary.incorrect;
  return {
    ...summary,
    interval: wilsonInterval(summary.correct, graded),
    coverage: summary.samples === 0 ? null : graded / summary.samples,
  };
}

const toCase = ({ base, tuned }: AnswerPair): CaseFacts => ({
  id: tuned.id,
  question: questionOf(tuned),
  reference: tuned.reference,
  base: { text: base.prediction, verdict: base.grade.verdict, extracted: base.grade.extracted },
  tuned: { text: tuned.prediction, verdict: tuned.grade.verdict, extracted: tuned.grade.extracted },
});

/** By place: both models were asked the same prompts in the same order, so that one asked twice stays two. */
function sideBySide(
  base: readonly QualitativeAnswer[],
  tuned: readonly QualitativeAnswer[],
): ReportFacts['qualitative'] {
  return tuned.map(({ prompt, prediction }, index) => {
    const other = base[index];
    return { prompt, base: other?.prompt === prompt ? other.prediction : null, tuned: prediction };
  });
}
