/**
 * A bad night handled with Temporal's UI alone, in Chromium: every way to stop a run and to take it up again, clicked.
 * Whatever is pressed, nothing finished is done twice and training goes on from its newest checkpoint. With
 * REVERIE_PICTURES=1 the README's pictures are taken anew.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { Browser } from 'playwright-core';
import { startRun } from '../../../cli/start.ts';
import type { RunSpecInput } from '../../../contracts/run-spec.ts';
import { type RunResult, type RunStatus, TASK_QUEUE, WORKFLOW_TYPE } from '../../../contracts/workflow-api.ts';
import { launchBrowser, withoutChromium } from '../../fixtures/browser.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { python } from '../../fixtures/python.ts';
import { startTestStack, type TestStack } from '../stack.ts';
import { attemptsOf, committed, night, Trainer } from './nights.ts';
import { TemporalPage } from './temporal-page.ts';

const skip = withoutChromium === false ? python.skip : withoutChromium;
const timeout = 300_000;
const pictures = join(import.meta.dirname, '..', '..', '..', 'infra', 'pictures');
const takesPictures = process.env.REVERIE_PICTURES === '1';

let stack: TestStack;
let browser: Browser;
let trainer: Trainer;
before(async () => {
  if (skip !== false) return;
  [stack, browser] = await Promise.all([startTestStack(), launchBrowser()]);
  trainer = new Trainer(stack);
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});

const start = (workflowId: string, spec: RunSpecInput): Promise<WorkflowHandle> =>
  startRun({ client: stack.client, workflowId, spec });
const open = (handle: WorkflowHandle): Promise<TemporalPage> => TemporalPage.open(browser, stack.uiUrl, handle);
/** Whatever run has the id now: a reset and a new start make another. */
const newest = ({ workflowId }: WorkflowHandle): WorkflowHandle => stack.client.workflow.getHandle(workflowId);
const statusOf = (handle: WorkflowHandle): Promise<RunStatus> => newest(handle).query<RunStatus>('status');

/** Of the part that matters, without the paths of the machine it is taken on. */
async function picture({ page }: TemporalPage, name: string, clip: Clip): Promise<void> {
  if (!takesPictures) return;
  await sleep(1500);
  await page.screenshot({ path: join(pictures, name), clip });
}
type Clip = { x: number; y: number; width: number; height: number };
const DETAILS_PANE: Clip = { x: 768, y: 90, width: 512, height: 810 };
const DIALOG: Clip = { x: 247, y: 93, width: 786, height: 714 };

/** The activity at work, as the server knows it. */
async function activity(handle: WorkflowHandle) {
  const { raw } = await newest(handle).describe();
  return (raw.pendingActivities ?? []).find(({ activityType }) => activityType?.name === 'train') ?? null;
}

const ended = (handle: WorkflowHandle, name: string): Promise<true> =>
  eventually(name, async () => ((await handle.describe()).status.name === name ? true : null), 150_000);

/** Every attempt went on from a checkpoint of the one before it, and none but the last came to the end. */
async function assertWentOn(handle: WorkflowHandle, attempts: number): Promise<void> {
  const over = async () => ((await newest(handle).describe()).status.name === 'RUNNING' ? null : true);
  await eventually('the run is over', over, 120_000).catch(async ({ message }: Error) => {
    const attempts = JSON.stringify(await attemptsOf(stack, handle.workflowId));
    throw new Error(`${message}; it says ${JSON.stringify(await statusOf(handle))}; its attempts: ${attempts}`);
  });
  const { weightsSha256 } = (await newest(handle).result()) as RunResult;
  assert.match(weightsSha256, /^[0-9a-f]{64}$/);
  const all = await attemptsOf(stack, handle.workflowId);
  const told = JSON.stringify(all.map(({ fromStep, step, setting }) => ({ fromStep, step, setting })));
  assert.equal(all.length, attempts, told);
  for (const [index, { fromStep }] of all.entries()) {
    const before = all[index - 1];
    if (before === undefined) assert.equal(fromStep, 0, told);
    // Checkpoints are two steps apart, and some may have been on their way when the attempt was cut off.
    else assert.ok(fromStep !== null && fromStep > 0 && fromStep <= before.step && fromStep > before.step - 8, told);
  }
}

let paused: WorkflowHandle;
let expired: WorkflowHandle;

test('Pause saves a checkpoint, ends the trainer and frees the GPU', { skip, timeout }, async (t) => {
  // Its time runs out while it is paused: that is for a later test.
  paused = await stack.client.workflow.start(WORKFLOW_TYPE, {
    taskQueue: TASK_QUEUE,
    workflowId: 'night-that-timed-out',
    args: [night(1)],
    workflowRunTimeout: '90 s',
  });
  await trainer.hold(4);
  const ui = await open(paused);
  await ui.activity('Pause');
  const pressedMs = performance.now();
  await trainer.goOnToStop();
  await trainer.gone();
  t.diagnostic(`the trainer is gone ${((performance.now() - pressedMs) / 1000).toFixed(1)} s after Pause`);
  await ui.page.getByText('PAUSED').locator('visible=true').first().waitFor();
  const [attempt] = await attemptsOf(stack, paused.workflowId);
  assert.ok((attempt?.step ?? 0) >= 4);
  await ui.close();
});

test('a run at work is reset, paused, let go on and given other options, and goes on each time', {
  skip,
  timeout,
}, async () => {
  // On the GPU that the paused run has left.
  const handle = await start('night-of-a-crash', night(2));
  await trainer.hold(4);
  const ui = await open(handle);
  await ui.limitAttempts(7);
  assert.equal((await activity(handle))?.maximumAttempts, 7);
  await ui.activity('Reset');
  await trainer.goOnToStop();
  await trainer.hold(4);
  await ui.activity('Pause');
  await trainer.goOnToStop();
  await trainer.gone();
  await ui.activity('Unpause');
  await trainer.hold(4);
  assert.equal((await attemptsOf(stack, handle.workflowId)).length, 3);

  await trainer.crash();
  const said = await ui.details(/Parked in train: the run waits for you/);
  assert.match(said, /The trainer ended with SIGSEGV/);
  assert.match(said, /What to do: .*Then press More Actions → Send an Update → resume with \{\}: train goes on/);
  assert.match(said, /Kept meanwhile: every finished stage, and the checkpoint of step \d+/);
  await picture(ui, 'parked.png', DETAILS_PANE);

  const refused = await ui.update('resume', { changes: { train: { microBatchSize: 3 } } });
  assert.match(refused ?? '', /globalBatchSize 8 is not a multiple of train.microBatchSize 3; .* set microBatchSize 1/);
  assert.doesNotMatch(refused ?? '', /\bat .*\.ts:/, 'no stack trace');
  await picture(ui, 'update-refused.png', DIALOG);
  await ui.leave('Send an Update');
  assert.equal((await statusOf(handle)).state, 'parked');

  assert.equal(await ui.update('resume', {}), null);
  await trainer.hold(4);
  await trainer.crash();
  await ui.details(/Parked in train.*Incidents \(2\)/s);
  assert.equal(await ui.update('resume', { changes: { train: { microBatchSize: 1 } } }), null);
  await assertWentOn(handle, 5);
  const all = await attemptsOf(stack, handle.workflowId);
  assert.deepEqual(
    all.map(({ setting }) => setting?.microBatchSize),
    [4, 4, 4, 4, 1],
  );
  await ui.close();
});

test('a run that nobody resumed in eval says what to press', { skip, timeout }, async () => {
  // Trained already; another seed of the sampler makes both evaluations anew.
  const policy = { parkDeadlineHours: 2 / 3600 };
  expired = await start('night-that-expired', night(2, { eval: { seed: 1 }, policy }));
  await trainer.holdEvaluation();
  await trainer.crash();
  await assert.rejects(
    expired.result(),
    (error) => error instanceof WorkflowFailedError && /Nobody/.test(String(error.cause)),
  );
  const { stages } = await statusOf(expired);
  assert.equal(stages.find(({ name }) => name === 'train')?.state, 'cached');
  const ui = await open(expired);
  const said = await ui.details(/The run has ended: expired/);
  assert.match(said, /press Reset and choose the first event/);
  await picture(ui, 'expired.png', DETAILS_PANE);
  await ui.close();
});

test('terminated: Reset keeps the changes made before, Start Workflow Like This One goes on as well', {
  skip,
  timeout,
}, async () => {
  const handle = await start('night-that-was-ended', night(3));
  await trainer.hold(4);
  const ui = await open(handle);
  assert.equal(await ui.update('resume', { changes: { train: { microBatchSize: 1 } } }), null);
  await ui.terminate();
  await trainer.goOnToStop();
  await trainer.gone();

  const before = await committed(stack);
  await ui.reset((events) => events.at(0));
  await trainer.hold(4);
  const { stages } = await statusOf(handle);
  const made = stages.filter(({ name, state }) => state !== 'cached' && !['resolve', 'train'].includes(name));
  assert.deepEqual(
    made.map(({ name }) => name),
    ['eval tuned', 'promote', 'report'],
    'finished stages are hits',
  );
  await ui.close();

  const again = await open(handle);
  await again.terminate();
  await trainer.goOnToStop();
  await trainer.gone();
  await again.startLikeThis();
  await assertWentOn(handle, 3);
  const all = await attemptsOf(stack, handle.workflowId);
  assert.deepEqual(
    all.map(({ setting }) => setting?.microBatchSize),
    [4, 1, 4],
    'a reset takes the changes over, a new run begins with its own spec',
  );
  const now = await committed(stack);
  for (const [name, at] of before) assert.equal(now.get(name), at, `${name} was made again`);
  await again.close();
});

test('failed in eval: Reset to the first task, as the pane advises, is at work again at once', {
  skip,
  timeout,
}, async (t) => {
  const before = await committed(stack);
  const ui = await open(expired);
  await ui.reset((events) => events.at(0));
  const clickedAt = Date.now();
  const worksAgain = await eventually('an evaluation at work', async () => {
    const { raw } = await newest(expired).describe();
    const at = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'evaluate')?.lastStartedTime;
    return at?.seconds ? Number(at.seconds) * 1000 + (at.nanos ?? 0) / 1e6 : null;
  });
  const seconds = (worksAgain - clickedAt) / 1000;
  t.diagnostic(`the evaluation is at work ${seconds.toFixed(1)} s after the click`);
  assert.ok(seconds <= 10, `${seconds} s`);
  assert.equal(((await newest(expired).result()) as RunResult).state, 'done');
  const now = await committed(stack);
  for (const [name, at] of before) assert.equal(now.get(name), at, `${name} was made again`);
  await ui.close();
});

test('timed out while it was paused: Reset to any task goes on from the checkpoint of the pause', {
  skip,
  timeout,
}, async () => {
  await ended(paused, 'TIMED_OUT');
  const [stopped] = await attemptsOf(stack, paused.workflowId);
  const ui = await open(paused);
  await ui.reset((events) => events[Math.floor(events.length / 2)]);
  await eventually('another run', async () =>
    (await newest(paused).describe()).status.name === 'RUNNING' ? true : null,
  );
  await assertWentOn(paused, 2);
  const [, last] = await attemptsOf(stack, paused.workflowId);
  assert.equal(last?.fromStep, stopped?.step, 'not one step is done again');
  await ui.close();
});
