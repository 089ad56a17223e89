import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Observation } from '../../../cli/observe.ts';
import { liveFigures, PlainLines, renderRun, sparkline } from '../../../cli/render-run.ts';
import { costOf } from '../../../contracts/cost.ts';
import { type StageName, stageNames } from '../../../contracts/stages.ts';
import type { HeartbeatDetails, RunStatus, StageStatus } from '../../../contracts/workflow-api.ts';

function figures(changes: Partial<HeartbeatDetails> = {}): HeartbeatDetails {
  return {
    stage: 'train',
    phase: 'train',
    step: 0,
    steps: 0,
    loss: null,
    tokensPerSecond: null,
    etaSeconds: null,
    checkpointStep: null,
    samplesDone: null,
    samples: null,
    attempt: 1,
    at: '2026-11-24T07:00:00Z',
    host: 'here',
    bytesRead: 0,
    bytesUploaded: 0,
    ...changes,
  };
}

function observation(
  stages: Partial<Record<StageName, Partial<StageStatus>>> = {},
  live: HeartbeatDetails[] = [],
  status: Partial<RunStatus> = {},
): Observation {
  return {
    execution: 'running',
    live,
    status: {
      state: 'running',
      stage: null,
      stages: stageNames.map((name) => ({ name, state: 'waiting', seconds: null, note: null, ...stages[name] })),
      incidents: [],
      progress: null,
      parked: null,
      attempts: 0,
      gpuHours: 0,
      cost: costOf(0, null),
      accuracy: null,
      weightsSha256: null,
      ledger: null,
      report: null,
      ...status,
    },
  };
}

const incident: RunStatus['incidents'][number] = {
  stage: 'train',
  type: 'OutOfMemory',
  message: 'CUDA out of memory',
  verdict: 'shrink',
  action: 'micro-batch 4 → 2',
  at: '2026-11-24T07:00:00Z',
};
const parked: NonNullable<RunStatus['parked']> = {
  stage: 'train',
  reason: 'The loss is NaN.',
  holds: 'everything',
  advice: 'Send resume.',
  since: '2026-11-24T07:00:00Z',
  until: '2026-11-27T07:00:00Z',
};

test('figures tell the phase until there are steps, then step, loss, speed and ETA', () => {
  assert.equal(liveFigures(figures({ phase: 'load' })), 'load');
  const training = figures({ step: 30, steps: 84, loss: 1.25, tokensPerSecond: 1234.5, etaSeconds: 12.2 });
  assert.equal(liveFigures(training), 'step 30/84 · loss 1.2500 · 1235 tokens/s · ETA 13 s');
  const gpu = { index: 0, percent: 90, memoryGib: 70.25 };
  assert.match(liveFigures({ ...training, gpus: [gpu] }), / · GPU 90 % 70\.3 GiB$/);
  const [silent, full] = [
    { index: 1, percent: null, memoryGib: null },
    { index: 2, percent: 95, memoryGib: 75 },
  ];
  assert.match(liveFigures({ ...training, gpus: [gpu, silent, full] }), / · 3 GPUs 93 % 75\.0 GiB$/);
  assert.doesNotMatch(liveFigures({ ...training, gpus: [] }), /GPU/);
  assert.equal(
    liveFigures({ ...training, checkpointStep: 20, attempt: 2, etaSeconds: 0 }),
    'step 30/84 · loss 1.2500 · 1235 tokens/s · checkpoint 20 · attempt 2',
  );
});

test('figures of an evaluation count answers', () => {
  assert.equal(liveFigures(figures({ stage: 'eval base', samples: 100, samplesDone: 50 })), '50 of 100 answers');
});

test('a table has one line a stage, with live figures beside the one at work', () => {
  const seen = observation(
    {
      resolve: { state: 'done', seconds: 0.25 },
      'download dataset': { state: 'cached', seconds: 0, note: '2 files' },
      train: { state: 'running' },
      promote: { state: 'skipped' },
    },
    [figures({ step: 1, steps: 4 })],
  );
  const lines = renderRun(seen, false).split('\n');
  assert.equal(lines.length, stageNames.length);
  assert.match(lines[0] ?? '', /^✓ resolve +0\.\d s$/);
  assert.match(lines[1] ?? '', /^✓ download dataset +cached {2}2 files$/);
  assert.match(lines[5] ?? '', /^▸ train +step 1\/4$/);
  assert.equal(lines[8], '– promote');
  assert.equal(lines[9], '· report');
});

test('a table ends with the last three incidents and what a parked run waits for', () => {
  const incidents = ['first', 'second', 'third', 'fourth'].map((action) => ({ ...incident, action }));
  const lines = renderRun(observation({}, [], { incidents, parked }), false)
    .split('\n')
    .slice(stageNames.length);
  assert.deepEqual(lines, [
    '! train: OutOfMemory → second',
    '! train: OutOfMemory → third',
    '! train: OutOfMemory → fourth',
    '⏸ parked in train: The loss is NaN.',
    '  Send resume.',
  ]);
});

test('a pipe is told of each start and end once', () => {
  const plain = new PlainLines();
  assert.deepEqual([...plain.news(observation())], []);
  const running = observation({ convert: { state: 'running' } });
  assert.deepEqual([...plain.news(running)], ['▸ convert']);
  assert.deepEqual([...plain.news(running)], []);
  const done = observation({ convert: { state: 'done', seconds: 1.5, note: '900 + 100 rows' } });
  assert.deepEqual([...plain.news(done)], ['✓ convert 1.5 s 900 + 100 rows']);
  assert.deepEqual([...plain.news(done)], []);
});

test('a pipe is told of progress at each tenth, and of every new attempt', () => {
  const plain = new PlainLines();
  const at = (step: number, attempt = 1): string[] => [
    ...plain.news(observation({}, [figures({ step, steps: 100, attempt })])),
  ];
  assert.deepEqual(at(1), ['  train: step 1/100']);
  assert.deepEqual(at(9), []);
  assert.deepEqual(at(10), ['  train: step 10/100']);
  assert.deepEqual(at(10, 2), ['  train: step 10/100 · attempt 2']);
});

test('a pipe is told of an incident once, and of each time that the run is parked', () => {
  const plain = new PlainLines();
  const news = (status: Partial<RunStatus>): string[] => [...plain.news(observation({}, [], status))];
  assert.deepEqual(news({ incidents: [incident] }), ['! train: OutOfMemory → micro-batch 4 → 2']);
  const waits = '⏸ parked in train: The loss is NaN.\n  Send resume.';
  assert.deepEqual(news({ incidents: [incident], parked }), [waits]);
  assert.deepEqual(news({ incidents: [incident], parked }), []);
  assert.deepEqual(news({ incidents: [incident] }), []);
  assert.deepEqual(news({ incidents: [incident], parked: { ...parked, since: '2026-11-25T07:00:00Z' } }), [waits]);
});

test('a sparkline goes from the lowest to the highest, and leaves gaps', () => {
  assert.equal(sparkline([4, 3, Number.NaN, 1]), '█▆ ▁');
  assert.equal(sparkline([2, 2]), '▁▁');
});

test('a table draws the losses under the training at work', () => {
  const seen = observation({ train: { state: 'running' } }, [figures({ step: 3, steps: 9, losses: [3, 2, 1] })]);
  const lines = renderRun(seen, false).split('\n');
  assert.equal(lines.length, stageNames.length + 1);
  assert.equal(lines[6]?.trim(), '█▅▁');
});
