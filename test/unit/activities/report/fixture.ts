/** A run as a report sees it: made up, but of the shape and size of a real one, and the same every time. */

import { countOutcomes, pairAnswers } from '../../../../activities/eval/compare.ts';
import { type GradedPrediction, summarise } from '../../../../activities/eval/results.ts';
import { measureRevealOrder } from '../../../../activities/eval/reveal-order.ts';
import { collectFacts, type ReportFacts, type ReportFiles } from '../../../../activities/report/facts.ts';
import type { ReportInput } from '../../../../contracts/report.ts';
import { type RunSpecInput, runSpecSchema } from '../../../../contracts/run-spec.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import { type ArtifactRef, type ArtifactStage, stageNames } from '../../../../contracts/stages.ts';
import type { Grade, HistoryRecord } from '../../../../contracts/trainer.ts';
import { prediction } from '../eval/prediction.ts';

/** Shares of the questions that base and tuned answer correctly. */
export const outcomes = { better: [0.2, 0.75], same: [0.5, 0.52], worse: [0.6, 0.25] } as const;
export type Outcome = keyof typeof outcomes;

const SAMPLES = 60;
const STEPS = 171;

/** In [0, 1), from a text. */
const draw = (...of: (string | number)[]): number => Number.parseInt(sha256(of.join('/')).slice(0, 12), 16) / 16 ** 12;

const ref = (stage: ArtifactStage, name: string): ArtifactRef => ({
  stage,
  key: sha256(`key of ${name}`),
  digest: sha256(`digest of ${name}`),
});

const artifacts: ReportInput['artifacts'] = {
  dataset: ref('dataset', 'dataset'),
  model: ref('model', 'model'),
  converted: ref('convert', 'converted'),
  filtered: ref('filter', 'filtered'),
  train: ref('train', 'train'),
  evalBase: ref('eval', 'base'),
  evalTuned: ref('eval', 'tuned'),
};

function answers(model: 'base' | 'tuned', share: number): GradedPrediction[] {
  return Array.from({ length: SAMPLES }, (_, index) => {
    // Half of the luck belongs to the question, so that the models agree more often than by chance.
    const right = 0.5 * draw('question', index) + 0.5 * draw(model, index) < share;
    const verdict: Grade['verdict'] = index % 15 === 7 ? 'ungradable' : right ? 'correct' : 'incorrect';
    const [a, b] = [3 + (index % 7), 4 + ((index * 5) % 9)];
    const result = right ? a * b : a + b;
    const text =
      model === 'tuned'
        ? `Step 1: there are ${a} boxes of ${b} marbles each, so we multiply.\nStep 2: $${a} \\times ${b} = ${result}$.\n\nThe answer is \\boxed{${result}}.`
        : `${result} marbles${right ? '' : ' <|im|> marbles marbles **and** `so` on & on'}`;
    const length = model === 'tuned' ? 48 : 14;
    return {
      ...prediction(index, {
        id: `s1k-${String(index * 7).padStart(3, '0')}`,
        prompt: [
          { role: 'system', content: 'You are a helpful AI assistant.' },
          { role: 'user', content: `A shelf holds ${a} boxes with ${b} marbles in each. How many marbles are there?` },
        ],
        reference: String(a * b),
        prediction: text,
        newTokens: length,
        ended: draw('ended', model, index) < (model === 'tuned' ? 0.97 : 0.6),
        revealSteps: Array.from({ length }, (_, position) =>
          Math.floor(
            (model === 'tuned'
              ? 0.7 * position + 0.5 * length * draw(model, index, position)
              : length * draw(model, index, position)) / 2,
          ),
        ),
      }),
      kind: 'sample',
      grade: { verdict, extracted: right || model === 'tuned' ? String(result) : null, reason: 'made up' },
    };
  });
}

export function history(steps = STEPS): HistoryRecord[] {
  return Array.from({ length: steps }, (_, index): HistoryRecord[] => {
    const step = index + 1;
    const progress = index / steps;
    const loss = 0.42 + 1.1 * Math.exp(-4 * progress) + 0.22 * (draw('noise', step) - 0.5);
    const warmup = Math.min(1, step / (0.1 * steps));
    const epoch = Math.floor((3 * index) / steps);
    const record: HistoryRecord = {
      type: 'step',
      step,
      epoch,
      loss,
      learningRate: 2e-6 * warmup * 0.5 * (1 + Math.cos(Math.PI * progress)),
      gradNorm: 1,
      tokens: 8000,
      maskedTokens: 4000,
      seconds: 1.2,
      dataSeconds: 0,
      leftOut: step === 90,
    };
    return step % Math.ceil(steps / 9) === 0
      ? [record, { type: 'validation', step, loss: 0.5 + 1.05 * Math.exp(-4 * progress) }]
      : [record];
  }).flat();
}

const qualitative = (model: 'base' | 'tuned') => [
  {
    prompt: '一个数的3倍加上5等于26，这个数是多少？',
    prediction: model === 'tuned' ? '设这个数为 x。\n3x + 5 = 26\n3x = 21\nx = \\boxed{7}' : '这个数是 26。',
    newTokens: 30,
    ended: true,
  },
  {
    prompt: '解释为什么2+2=4',
    prediction: model === 'tuned' ? '从 2 开始，再数两个：3、4。所以 2 + 2 = 4。' : '',
    newTokens: 20,
    ended: true,
  },
  {
    prompt: '写一个Python函数来计算斐波那契数列的第n项',
    prediction:
      model === 'tuned'
        ? '```python\ndef fib(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n```'
        : 'def fib(n):\n  return fib(n-1) + fib(n-1)',
    newTokens: 60,
    ended: true,
  },
];

export function reportInput(
  outcome: Outcome = 'better',
  spec: RunSpecInput = {},
): { input: ReportInput; files: ReportFiles } {
  const [base, tuned] = [answers('base', outcomes[outcome][0]), answers('tuned', outcomes[outcome][1])];
  const evaluation = (model: 'base' | 'tuned', predictions: GradedPrediction[]) => ({
    predictions,
    qualitative: qualitative(model),
    revealOrder: measureRevealOrder(predictions),
  });
  const input: ReportInput = {
    spec: runSpecSchema.parse(spec),
    run: {
      workflowId: 'fine-tune-s1k',
      runId: '01947c5e-8f0a-7c1e-9d5c-2f3f6a1f0b77',
      startedAt: '2026-11-24T05:50:12.123Z',
      uiUrl: 'http://127.0.0.1:8233/namespaces/default/workflows/fine-tune-s1k',
    },
    sources: {
      dataset: { source: 'hf://simplescaling/s1K-1.1', revision: '96c411c4b9a1f4b5b4f7d3a2e0c1b2a3d4e5f607' },
      model: { source: 'hf://Dream-org/Dream-v0-Base-7B', revision: '05334cb9faaf763692dcf9d8737c642be2b2a6ae' },
    },
    artifacts,
    summaries: {
      convert: {
        rows: 1000,
        train: 900,
        validation: 100,
        columns: ['question', 'solution', 'deepseek_attempt'],
        mapping: {
          question: 'question',
          response: 'deepseek_attempt',
          trace: 'deepseek_thinking_trajectory',
          reference: 'solution',
        },
      },
      filter: {
        train: { kept: 815, rejected: { 'over-long': 82, empty: 3 } },
        validation: { kept: 100, rejected: {} },
        maxTokens: 2048,
        lengths: { count: 1000, mean: 1012.4, std: 611.2, min: 141, p25: 571, p50: 873, p75: 1302, max: 4816 },
        over: [
          { threshold: 1024, rows: 396 },
          { threshold: 2048, rows: 85 },
        ],
      },
      train: {
        steps: STEPS,
        stepsPerEpoch: 57,
        rows: 815,
        parameters: 7_615_616_512,
        finalLoss: 0.4312,
        firstValidationLoss: 1.553,
        validationLoss: 0.5214,
        weightsSha256: sha256('weights'),
        device: 'NVIDIA H100 80GB HBM3',
        ranks: 8,
        recipe: 'full-fp32',
        torch: '2.11.0+cu130',
        stepSeconds: 1834.4,
        tokens: 21_350_400,
        peakMemoryBytes: 64_300_000_000,
        leftOutSteps: [90],
        microBatchSize: 2,
        deviceMemoryBytes: 85_000_000_000,
        samples: { rows: 815, epochs: 3, seen: 2445, duplicates: 0, dropped: 0, leftOut: 16 },
      },
      evalBase: summarise(base, 41),
      evalTuned: summarise(tuned, 41),
    },
    stages: stageNames.map((name) => ({
      name,
      state: name === 'report' ? 'running' : name === 'promote' ? 'skipped' : name === 'eval base' ? 'cached' : 'done',
      seconds:
        name === 'report' || name === 'promote' ? null : name === 'eval base' ? 0 : 3 + 1900 * Number(name === 'train'),
      note: null,
    })),
    incidents: [
      {
        stage: 'train',
        type: 'OutOfMemory',
        message: 'CUDA out of memory. Tried to allocate 2.32 GiB (GPU 3; 79.11 GiB total capacity)',
        verdict: 'shrink',
        action: 'Halved the micro-batch from 4 to 2; the global batch stays 16.',
        at: '2026-11-24T05:58:31.000Z',
      },
      {
        stage: 'train',
        type: 'Diverged',
        message: 'The loss of step 90 is 41.2; expected at most 20 deviations above the last 32',
        verdict: 'roll-back',
        action: 'Went back to step 76 and left step 90 out.',
        at: '2026-11-24T06:14:02.000Z',
      },
    ],
    attempts: 5,
    gpuHours: 4.21,
    ledger: {
      attempts: 5,
      seconds: {
        productive: 1790,
        validation: 60,
        replayed: 44,
        lost: 6,
        saving: 9,
        starting: 120,
        waitingForData: 3,
        finishing: 40,
        waitingForHost: 55,
      },
      restarts: [0, 76, 76, 140],
      replays: { steps: 27, compared: 14, differing: 0, comparedToRounding: 13, largestDifference: 3.1e-7 },
      gpuSeconds: 15_156,
    },
    promote: null,
  };
  const files: ReportFiles = {
    history: history(),
    lengths: Array.from({ length: 20 }, (_, bin) => ({
      from: 256 * bin + 1,
      to: 256 * (bin + 1),
      rows: Math.round(220 * (bin + 0.6) ** 1.2 * Math.exp(-0.6 * bin)),
    })),
    base: evaluation('base', base),
    tuned: evaluation('tuned', tuned),
  };
  return { input, files };
}

export function reportFacts(outcome: Outcome = 'better', spec: RunSpecInput = {}): ReportFacts {
  const { input, files } = reportInput(outcome, spec);
  return collectFacts(input, files);
}

/** For looking at: how the made-up answers fall out. */
export const tally = (outcome: Outcome) => {
  const { files } = reportInput(outcome);
  return countOutcomes(pairAnswers(files.base.predictions, files.tuned.predictions));
};
