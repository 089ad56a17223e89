import assert from 'node:assert/strict';
import { test } from 'node:test';
import { details, duration, progressLine } from '../../../workflows/details.ts';
import { RunRecord } from '../../../workflows/run-record.ts';
import { progressAt } from '../../fixtures/progress.ts';

function parked(reason: string): RunRecord {
  const run = new RunRecord();
  const advice = 'Press **Update**, choose `resume` with `{}`.';
  run.park({
    stage: 'train',
    reason,
    holds: 'every finished stage',
    advice,
    since: 'S',
    until: '2026-11-27T03:04:05Z',
  });
  return run;
}

function withIncident(message: string): RunRecord {
  const run = new RunRecord();
  const decision = { kind: 'again', verdict: 'retry', action: 'tries again', delaySeconds: 0 } as const;
  run.judged('train', { type: 'TrainerCrashed', message, details: {} }, decision, new Date('2026-11-24T03:04:05Z'));
  return run;
}

test('a parked run says first why, what is kept, what to press and until when', () => {
  const text = details(parked('The trainer hangs').status());
  assert.ok(
    text.startsWith('### Parked in train\n\n```\nThe trainer hangs\n```\n\n**Kept:** every finished stage\n\n'),
  );
  assert.match(text, /\*\*What to press:\*\* Press \*\*Update\*\*, choose `resume` with `\{\}`\./);
  assert.match(text, /choose `abort`\. The run waits until 2026-11-27T03:04:05Z/);
});

test('a run that goes on shows no buttons', () => {
  assert.doesNotMatch(details(new RunRecord().status()), /press|Parked|Incidents/i);
});

test('every stage has a line, in the order of the run', () => {
  const run = new RunRecord();
  run.stage('resolve').state = 'done';
  Object.assign(run.stage('convert'), { state: 'cached', seconds: 0, note: '90 + 10 rows' });
  Object.assign(run.stage('filter'), { state: 'done', seconds: 12.3, note: '88 + 10 rows kept' });
  run.stage('train').state = 'failed';
  assert.deepEqual(details(run.status()).split('\n'), [
    '- ✓ **resolve**',
    '- · **download dataset**',
    '- · **download model**',
    '- ✓ **convert** · cached · 90 + 10 rows',
    '- ✓ **filter** · 12 s · 88 + 10 rows kept',
    '- ✗ **train**',
    '- · **eval base**',
    '- · **eval tuned**',
    '- · **promote**',
    '- · **report**',
  ]);
});

test("names out of people's data cannot break the list", () => {
  const run = new RunRecord();
  Object.assign(run.stage('convert'), { state: 'done', seconds: 1, note: 'a|b\n- *c* <img> [d](e) `f` \\' });
  const line = details(run.status())
    .split('\n')
    .find((each) => each.includes('convert'));
  assert.equal(line, '- ✓ **convert** · 1.0 s · a\\|b - \\*c\\* \\<img\\> \\[d\\](e) \\`f\\` \\\\');
});

test('a message stays text, whatever fences are in it', () => {
  for (const [message, fence] of [
    ['plain', '```'],
    ['```\n# not a heading\n```', '````'],
    ['`````', '``````'],
  ] as const) {
    assert.ok(details(parked(message).status()).includes(`\n\n${fence}\n${message}\n${fence}\n\n`), message);
  }
});

test("an incident's message is a block within its item of the list", () => {
  const text = details(withIncident('line 1\n\nline 2').status());
  assert.ok(
    text.includes(
      '### Incidents (1)\n\n- 2026-11-24T03:04:05Z · train · **TrainerCrashed** → tries again\n\n  ```\n  line 1\n  \n  line 2\n  ```',
    ),
    text,
  );
});

test('shows the last ten incidents, and how many there were', () => {
  const run = withIncident('message 0');
  for (let n = 1; n <= 12; n++)
    run.incidents.push({ ...(run.incidents[0] ?? assert.fail()), message: `message ${n} ` });
  const text = details(run.status());
  assert.match(text, /### Incidents \(13\)/);
  assert.equal(text.match(/TrainerCrashed/g)?.length, 10);
  assert.ok(text.includes('message 12 ') && !text.includes('message 2 '));
});

test('a long log is cut in its middle', () => {
  const text = details(withIncident(`first${'x'.repeat(100_000)}last`).status());
  assert.ok(text.includes('first') && text.includes('last') && text.includes('…'));
  assert.ok(text.length < 5000);
});

test('shows progress of a stage at work only', () => {
  const run = new RunRecord();
  run.take(progressAt({}));
  assert.doesNotMatch(details(run.status()), /step 12/);
  run.stage('train').state = 'running';
  assert.match(details(run.status()), /step 12 of 60/);
  run.stage('train').state = 'done';
  assert.doesNotMatch(details(run.status()), /step 12/);
});

test('a line of progress says what is known', () => {
  assert.equal(
    progressLine(progressAt({ checkpointStep: 10 })),
    '**train** (train, attempt 1) · step 12 of 60 · loss 1.2500 · 1,235 tokens/s · about 2 min to go · last checkpoint at step 10, as of 03:04:05 UTC',
  );
  const bare = { loss: null, tokensPerSecond: null, etaSeconds: null, steps: 0, phase: 'load', attempt: 2 };
  assert.equal(progressLine(progressAt(bare)), '**train** (load, attempt 2), as of 03:04:05 UTC');
  const samples = {
    stage: 'eval base',
    samples: 100,
    samplesDone: 8,
    loss: null,
    tokensPerSecond: null,
    etaSeconds: null,
  } as const;
  assert.match(progressLine(progressAt(samples)), /8 of 100 answers/);
});

test('says accuracy as far as it is known', () => {
  const run = new RunRecord();
  run.accuracy = { base: 0.125, tuned: null, n: 80 };
  assert.match(details(run.status()), /Accuracy on 80 questions: base 12\.5 %, tuned …\./);
});

test('durations are read, not counted', () => {
  const said = [0, 1.25, 9.96, 59.6, 89, 90, 3600, 5400, 86400].map(duration);
  assert.deepEqual(said, ['0.0 s', '1.3 s', '10.0 s', '60 s', '89 s', '2 min', '60 min', '1.5 h', '24.0 h']);
});

test('a long reason is broken at spaces, since the pane does not wrap code', () => {
  const reason =
    'The trainer ended with exit 1 in phase train on host-a; expected exit 0; read the last lines of its log.';
  const block = /```\n([\s\S]*?)\n```/.exec(details(parked(reason).status()))?.[1] ?? '';
  assert.ok(
    block.split('\n').every((line) => line.length <= 60),
    block,
  );
  assert.equal(block.replaceAll('\n', ' '), reason);
});

test('a run that parks names the checkpoint that the failure itself has told', () => {
  const run = new RunRecord();
  const decision = { kind: 'park', verdict: 'park', action: 'waits', delaySeconds: 0 } as const;
  run.judged('train', { type: 'TrainerCrashed', message: 'm', details: { checkpointStep: 20 } }, decision, new Date(0));
  assert.equal(run.seenStep, 20);
});
