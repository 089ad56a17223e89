import assert from 'node:assert/strict';
import { test } from 'node:test';
import { details, duration, progressLines } from '../../../workflows/details.ts';
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

test('a parked run says first why, what to press, what is kept and until when', () => {
  const text = details(parked('The trainer hangs').status());
  assert.ok(
    text.startsWith(
      '### Parked in train: the run waits for you\n\n```\nThe trainer hangs\n```\n\n**What to do:** Press **Update**, choose `resume` with `{}`.\n\n**Kept meanwhile:** every finished stage.\n\n**To give up:** **More Actions** → **Send an Update** → `abort`. If nobody comes by 2026-11-27 03:04 UTC, the run ends as expired;',
    ),
    text,
  );
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
      '### Incidents (1)\n\n- 2026-11-24 03:04 UTC · train · **TrainerCrashed** → tries again\n\n  ```\n  line 1\n  \n  line 2\n  ```',
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
  assert.ok(text.includes('message 12\n') && !text.includes('message 2\n'));
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

test('progress is told as far as it is known, with the age of the checkpoint at the note', () => {
  assert.deepEqual(
    progressLines(progressAt({ checkpointStep: 10, checkpointAt: '2026-11-24T03:03:53.678Z', goodput: 0.97 })).split(
      '\n',
    ),
    [
      '**train** · step 12 of 60 · about 2 min to go, as of 03:04:05 UTC',
      '',
      '- phase train, attempt 1 · loss 1.2500 · 1,235 tokens/s · goodput 97 %',
      '- last checkpoint: step 10, 12 s old at this note, in the store with every file hashed, verified again before use',
      '- live figures: **Pending Activities**, Heartbeat Details',
    ],
  );
  assert.match(progressLines(progressAt({})), /- no checkpoint yet\n/);
  const found = progressLines(progressAt({ checkpointStep: 10, checkpointAt: null }));
  assert.match(found, /last checkpoint: step 10, verified when this attempt began from it/);
  const bare = { loss: null, tokensPerSecond: null, etaSeconds: null, steps: 0, phase: 'load', attempt: 2 };
  assert.match(progressLines(progressAt(bare)), /^\*\*train\*\*, as of 03:04:05 UTC\n\n- phase load, attempt 2\n/);
  const samples = {
    stage: 'eval base',
    samples: 100,
    samplesDone: 8,
    loss: null,
    tokensPerSecond: null,
    etaSeconds: null,
  } as const;
  assert.match(progressLines(progressAt(samples)), /8 of 100 answers/);
  assert.doesNotMatch(progressLines(progressAt(samples)), /checkpoint/);
});

test('says accuracy as far as it is known', () => {
  const run = new RunRecord();
  run.accuracy = { base: 0.125, tuned: null, n: 80 };
  assert.match(details(run.status()), /Accuracy on 80 questions: base 12\.5 %, tuned to come\./);
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

test('a path that is too long breaks after a slash', () => {
  const path = `/${'folder/'.repeat(20)}train.log`;
  const block = /```\n([\s\S]*?)\n```/.exec(details(parked(`Read ${path} now.`).status()))?.[1] ?? '';
  assert.ok(
    block.split('\n').every((line) => line.length <= 60),
    block,
  );
  assert.equal(block.replaceAll('\n', '').replaceAll(' ', ''), `Read${path}now.`);
});

test('what parked the run is told once', () => {
  const run = withIncident('The trainer hangs');
  assert.equal(details(run.status()).match(/The trainer hangs/g)?.length, 1);
  const { stage, reason, holds, advice, since, until } = parked('The trainer hangs').parked ?? assert.fail();
  run.park({ stage, reason, holds, advice, since, until });
  assert.equal(details(run.status()).match(/The trainer hangs/g)?.length, 1);
});

test('a run that has ended without a result says what to press', () => {
  const run = withIncident('bad rows');
  for (const [state, pressed] of [
    ['aborted', /Start Workflow Like This One/],
    ['expired', /Mend the cause, then press \*\*Reset\*\*/],
    ['failed', /press \*\*Reset\*\*/],
  ] as const) {
    run.end(state);
    const text = details(run.status());
    assert.ok(text.startsWith(`### The run has ended: ${state}\n\n**What to do:** `), text);
    assert.match(text, pressed);
  }
  run.end('done');
  assert.doesNotMatch(details(run.status()), /What to do/);
});

test('a run that parks names the checkpoint that the failure itself has told', () => {
  const run = new RunRecord();
  const decision = { kind: 'park', verdict: 'park', action: 'waits', delaySeconds: 0 } as const;
  run.judged('train', { type: 'TrainerCrashed', message: 'm', details: { checkpointStep: 20 } }, decision, new Date(0));
  assert.equal(run.seenStep, 20);
});
