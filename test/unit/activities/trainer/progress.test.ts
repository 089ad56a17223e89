import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProgressView } from '../../../../activities/trainer/progress.ts';
import type { Notice, Progress } from '../../../../contracts/workflow-api.ts';

test('a note tells what a heartbeat does, without what is of the moment', () => {
  const notes: Progress[] = [];
  const view = new ProgressView({
    stage: 'train',
    attempt: 2,
    host: 'gpu-1',
    note: (progress) => notes.push(progress),
  });
  view.startsFrom(20);
  Object.assign(view.details, { gpus: [], losses: [1, 2], goodput: 0.9 });
  const notice: Notice = { type: 'TrackerDown', message: 'down', at: '2026-11-24T03:04:05Z' };
  view.notice(notice);
  const { host, bytesRead, bytesUploaded, losses, gpus, ...progress } = view.details;
  assert.deepEqual([host, bytesRead, bytesUploaded, losses, gpus], ['gpu-1', 0, 0, [1, 2], []]);
  assert.deepEqual(notes, [{ ...progress, notices: [notice] }]);
  assert.deepEqual([progress.checkpointStep, progress.attempt, progress.goodput], [20, 2, 0.9]);
});
