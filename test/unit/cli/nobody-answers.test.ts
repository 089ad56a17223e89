/** Which endings of a call are silence, and which are told as they came. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '@temporalio/client';
import { isSilence } from '../../../cli/nobody-answers.ts';

const endedWith = (code: number): ServiceError =>
  new ServiceError('Failed to query Workflow', { cause: Object.assign(new Error('told by gRPC'), { code }) });

test('a deadline is silence whoever tells it, and so is a queue that nobody polls', () => {
  // Seen on a busy machine of one query in four: the server's clock is first, and the client sees a cancelled stream.
  const [cancelled, deadlineExceeded, failedPrecondition] = [1, 4, 9];
  for (const code of [cancelled, deadlineExceeded, failedPrecondition])
    assert.ok(isSilence(endedWith(code)), `${code}`);
});

test('what a server answers is no silence', () => {
  const [invalidArgument, notFound, permissionDenied, unavailable] = [3, 5, 7, 14];
  for (const code of [invalidArgument, notFound, permissionDenied, unavailable])
    assert.ok(!isSilence(endedWith(code)), `${code}`);
  assert.ok(!isSilence(new Error('deadline')));
});
