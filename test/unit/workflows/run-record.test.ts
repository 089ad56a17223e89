import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StageName, StageResult } from '../../../contracts/stages.ts';
import type { ParkedStatus } from '../../../contracts/workflow-api.ts';
import type { Decision } from '../../../workflows/decisions.ts';
import { RunRecord } from '../../../workflows/run-record.ts';
import { progressAt } from '../../fixtures/progress.ts';

const again: Decision = { kind: 'again', verdict: 'retry', action: 'tries again', delaySeconds: 0 };
const at = new Date('2026-11-24T03:04:05Z');
const hung = { type: 'TrainerHung', message: 'it hangs', details: {} } as const;

function result(cached: boolean, seconds = cached ? 0 : 2): StageResult<object> {
  return { artifact: { stage: 'train', key: 'k', digest: 'd' }, cached, seconds, summary: {} };
}

function parkedIn(stage: StageName): ParkedStatus {
  return { stage, reason: 'why', holds: 'all', advice: 'press', since: '', until: '' };
}

function allFinished(cached: boolean): RunRecord {
  const run = new RunRecord();
  for (const { name } of run.stages) run.finish(name, result(cached), '');
  return run;
}

test('a new run has every stage before it', () => {
  const run = new RunRecord();
  assert.equal(run.state, 'running');
  assert.equal(run.current, null);
  assert.deepEqual(new Set(run.stages.map(({ state }) => state)), new Set(['waiting']));
});

test('status can be asked for at any time and is plain data', () => {
  const run = new RunRecord();
  assert.deepEqual(JSON.parse(JSON.stringify(run.status())), run.status());
});

test('names the furthest stage at work, or else the one that waits for a person', () => {
  const run = new RunRecord();
  run.stage('train').state = 'running';
  assert.equal(run.current, 'train');
  run.stage('eval base').state = 'running';
  assert.equal(run.current, 'train', 'the base model is evaluated beside it');
  run.stage('train').state = 'done';
  assert.deepEqual([run.current, run.ahead], ['eval base', null]);
  run.stage('train').state = 'running';
  run.park(parkedIn('train'));
  assert.equal(run.current, 'train');
  assert.equal(run.status().stage, 'train');
  run.park(parkedIn('eval base'));
  assert.equal(run.ahead, 'eval base');
});

test('stays parked until nobody waits any more', () => {
  const run = new RunRecord();
  run.park(parkedIn('train'));
  run.park(parkedIn('eval base'));
  assert.equal(run.parked?.stage, 'eval base');
  run.unpark('eval base');
  assert.equal(run.state, 'parked');
  assert.equal(run.parked?.stage, 'train');
  run.unpark('train');
  assert.equal(run.state, 'running');
});

test('once ended it waits for nobody', () => {
  const run = new RunRecord();
  run.park(parkedIn('train'));
  run.end('expired');
  assert.equal(run.state, 'expired');
  assert.equal(run.parked, null);
});

test('counts failures by stage and by type until they are forgiven', () => {
  const run = new RunRecord();
  run.judged('train', hung, again, at);
  run.judged('train', hung, again, at);
  run.judged('train', { type: null, message: 'x', details: {} }, again, at);
  assert.deepEqual(run.counts('train'), { TrainerHung: 2, unknown: 1 });
  assert.deepEqual(run.counts('eval base'), {});
  assert.deepEqual(run.incidents[0], {
    stage: 'train',
    type: 'TrainerHung',
    message: 'it hangs',
    verdict: 'retry',
    action: 'tries again',
    at: '2026-11-24T03:04:05.000Z',
  });
  assert.equal(run.incidents[2]?.type, 'Unknown');
  run.forgive('train');
  assert.deepEqual(run.counts('train'), {});
  assert.equal(run.incidents.length, 3);
});

test('remembers the highest checkpoint that it has heard of, in whatever order', () => {
  const run = new RunRecord();
  for (const checkpointStep of [null, 900, 1000, 20, null]) run.take(progressAt({ checkpointStep }));
  assert.equal(run.seenStep, 1000);
});

test('knows the step of the training, not of an evaluation', () => {
  const run = new RunRecord();
  run.take(progressAt({ step: 7 }));
  run.take(progressAt({ stage: 'eval base', step: 0 }));
  assert.equal(run.step, 7);
});

test('what one training has seen and left out does not hold for another', () => {
  const run = new RunRecord();
  run.beginTraining('a');
  run.take(progressAt({ checkpointStep: 20 }));
  run.leaveOutSteps.push(25);
  run.beginTraining('a');
  assert.equal(run.seenStep, 20);
  assert.deepEqual(run.leaveOutSteps, [25]);
  run.beginTraining('b');
  assert.equal(run.seenStep, null);
  assert.deepEqual(run.leaveOutSteps, []);
});

test('is unchanged where every stage with an artifact was served from the store', () => {
  const run = allFinished(true);
  for (const name of ['resolve', 'promote', 'report'] as const) run.stage(name).state = 'done';
  assert.ok(run.unchanged);
  for (const name of [
    'download dataset',
    'download model',
    'convert',
    'filter',
    'train',
    'eval base',
    'eval tuned',
  ] as const) {
    const worked = allFinished(true);
    worked.stage(name).state = 'done';
    assert.ok(!worked.unchanged, name);
  }
});

test('a stage that was made in this run stays made when it is served again', () => {
  const run = allFinished(false);
  run.finish('train', result(true), 'again');
  assert.deepEqual(run.stage('train'), { name: 'train', state: 'done', seconds: 2, note: 'again' });
  const cached = allFinished(true);
  cached.finish('train', result(true), '');
  assert.equal(cached.stage('train').state, 'cached');
});

test('a notice becomes an incident once, though it is told by signal and with the result', () => {
  const run = new RunRecord();
  const notice = { type: 'ReplayDiffers', message: 'step 7 differs', at: '2026-11-24T03:04:05.000Z' } as const;
  run.notice('train', notice);
  run.takeStory({ notices: [notice, { ...notice, message: 'step 9 differs' }], gpuSeconds: 3600 });
  assert.deepEqual(
    run.incidents.map(({ stage, type, message, verdict }) => [stage, type, message, verdict]),
    [
      ['train', 'ReplayDiffers', 'step 7 differs', 'go-on'],
      ['train', 'ReplayDiffers', 'step 9 differs', 'go-on'],
    ],
  );
  assert.equal(run.status().gpuHours, 1);
});

test('counts the GPU-seconds of each training once, however often they are told', () => {
  const run = new RunRecord();
  run.beginTraining('one');
  run.take(progressAt({ gpuSeconds: 100 }));
  run.take(progressAt({ gpuSeconds: 50 }));
  run.takeStory({ gpuSeconds: 120 });
  run.takeStory({ gpuSeconds: 120 });
  run.spend('eval base', 10);
  run.spend('eval tuned', 20);
  assert.deepEqual([run.gpuSeconds, run.gpuSecondsBesideTraining], [150, 30]);
  run.beginTraining('another');
  assert.deepEqual([run.gpuSeconds, run.gpuSecondsBesideTraining], [150, 150]);
});

test('keeps a bounded number of notices, of bounded length: anybody can send a signal', () => {
  const run = new RunRecord();
  const at = '2026-11-24T03:04:05.000Z';
  for (let n = 0; n < 100; n++) run.notice('train', { type: 'ReplayDiffers', message: `${n}${'x'.repeat(9000)}`, at });
  assert.equal(run.incidents.length, 40);
  assert.equal(run.incidents[0]?.message.length, 2000);
});
