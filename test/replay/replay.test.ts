/** Histories of earlier runs against the workflow as it is: a run that is open somewhere goes on after an update. */
import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { courses } from './courses.ts';
import { goldenNames, readGolden } from './golden.ts';

const goldens = await goldenNames();

suite('replay', () => {
  let code: string;
  before(async () => {
    const logger = new DefaultLogger('ERROR', () => {});
    Runtime.install({ logger, telemetryOptions: { logging: { filter: 'OFF', forward: {} } } });
    code = await bundleWorkflows();
  });

  for (const name of goldens) {
    test(`goes through ${name}`, async () => {
      await Worker.runReplayHistory({ workflowBundle: { code } }, await readGolden(name), name);
    });
  }

  test('has a golden of every course', () => {
    assert.deepEqual(new Set(goldens), new Set(Object.keys(courses)));
  });

  test('catches a workflow that would leave open runs stuck', async () => {
    const workflowsPath = fileURLToPath(new URL('with-one-more-timer.ts', import.meta.url));
    const changed = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') });
    for (const name of goldens) {
      const replayed = Worker.runReplayHistory({ workflowBundle: changed }, await readGolden(name), name);
      await assert.rejects(replayed, DeterminismViolationError, name);
    }
  });
});
