/**
 * Three nights of one schedule on a real stack with real trainings: the first works, the second finds nothing changed and
 * ends within seconds without a GPU, the third finds other data and trains anew what depends on them.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { WorkflowHandle } from '@temporalio/client';
import { createSchedule, triggerSchedule } from '../../cli/schedule/schedules.ts';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import { python } from '../fixtures/python.ts';
import { startTestStack, type TestStack } from './stack.ts';

const { skip } = python;
const root = join(import.meta.dirname, '..', '..');

let stack: TestStack;
before(async () => {
  if (skip === false) stack = await startTestStack();
});
after(() => stack?.stop());

interface NightRun {
  result: RunResult;
  /** Names of the stages that were served. */
  served: string[];
  seconds: number;
  /** Tasks on the GPU queue. */
  gpuTasks: number;
  report: string;
}

async function night(): Promise<NightRun> {
  const workflowId = /^Started (\S+)/.exec(await triggerSchedule(stack.client, 'nightly'))?.[1] ?? assert.fail();
  const handle: WorkflowHandle = stack.client.workflow.getHandle(workflowId);
  const result = (await handle.result()) as RunResult;
  const { startTime, closeTime } = await handle.describe();
  const { events } = await handle.fetchHistory();
  return {
    result,
    served: result.stages.flatMap(({ name, cached }) => (cached ? [name] : [])),
    seconds: ((closeTime?.getTime() ?? 0) - startTime.getTime()) / 1000,
    gpuTasks: (events ?? []).filter(
      ({ activityTaskScheduledEventAttributes: task }) => task?.taskQueue?.name === 'reverie-gpu',
    ).length,
    report: await readFile(join(stack.storeDir, result.report), 'utf8'),
  };
}

test('a night works, the next finds nothing changed, and one with other data trains anew', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const rows = gunzipSync(await readFile(join(root, 'infra/demo/data/s1k-style.jsonl.gz')))
    .toString()
    .split('\n');
  const data = join(stack.dir, 'data.jsonl');
  await writeFile(data, rows.slice(0, 40).join('\n'));
  const spec: RunSpecInput = {
    model: { source: join(root, 'infra/demo/base') },
    dataset: { source: data },
    filter: { maxTokens: 96 },
    train: { globalBatchSize: 4, microBatchSize: 4, maxSteps: 2, activationCheckpointing: false },
    eval: { maxSamples: 2, sampler: { maxNewTokens: 8, steps: 2 }, qualitativePrompts: [] },
  };
  const file = join(stack.dir, 'nightly.json');
  await writeFile(file, JSON.stringify(spec));
  const timing = { cron: '0 2 * * *', timeZone: 'UTC', overlap: 'buffer-one', catchUp: '6h', jitter: '0s' } as const;
  await createSchedule(stack.client, 'nightly', { ...timing, file, paused: true });

  const first = await night();
  assert.equal(first.result.state, 'done');
  assert.deepEqual([first.served, first.gpuTasks, first.result.earlierReport], [[], 3, null]);
  assert.doesNotMatch(first.report, /The last nights/);

  const second = await night();
  t.diagnostic(`the first night took ${first.seconds} s, the unchanged one ${second.seconds} s`);
  assert.equal(second.result.state, 'unchanged');
  assert.equal(second.gpuTasks, 0);
  assert.equal(second.result.earlierReport, first.result.report);
  assert.match(second.report, /Nothing has changed since an earlier run/);
  assert.ok(second.report.includes(`(<../${first.result.report.split('/')[2]}/report.html>)`));

  await writeFile(data, rows.slice(0, 44).join('\n'));
  const third = await night();
  assert.equal(third.result.state, 'done');
  assert.deepEqual(third.served, ['download model']);
  assert.notEqual(third.result.weightsSha256, first.result.weightsSha256);
  const nights = third.report.split('### The last nights')[1]?.split('\n## ')[0] ?? '';
  const revisions = [...nights.matchAll(/^\| \d{4}-.*?`([0-9a-f]{12})`/gm)].map((match) => match[1]);
  assert.equal(revisions.length, 3);
  assert.equal(revisions[0], revisions[1]);
  assert.notEqual(revisions[2], revisions[1]);
});
