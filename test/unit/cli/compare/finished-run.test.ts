import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { defaultPayloadConverter } from '@temporalio/client';
import proto from '@temporalio/proto';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { openStore } from '../../../../activities/store/open-store.ts';
import { readFinishedRun, reportOfWorkflow, reportOnDisk } from '../../../../cli/compare/finished-run.ts';
import { findTemporal } from '../../../../cli/setup/temporal.mjs';
import { scratchFolder } from '../../../fixtures/scratch.ts';
import { reportFacts } from './report.ts';

const temporal = await findTemporal();

describe('a report on this disk', () => {
  test('names its store, by file or folder', async (t) => {
    const root = await scratchFolder(t);
    const folder = join(root, 'artifacts', 'report', 'abc');
    await mkdir(folder, { recursive: true });
    for (const name of ['report.json', 'report.html']) await writeFile(join(folder, name), '{}');
    const place = { key: 'artifacts/report/abc/report.json', storeUrl: pathToFileURL(root).href };
    assert.deepEqual(reportOnDisk(folder), place);
    assert.deepEqual(reportOnDisk(join(folder, 'report.html')), place);
  });

  test('is refused outside of a store', async (t) => {
    const folder = await scratchFolder(t);
    await writeFile(join(folder, 'report.json'), '{}');
    assert.throws(() => reportOnDisk(join(folder, 'report.json')), {
      type: 'InvalidSpec',
      message: /is not a report within a store; expected …\/artifacts\/report\/KEY\/report\.html/,
    });
  });

  test('is not meant by a workflow id', () => {
    assert.equal(reportOnDisk('test'), null, 'a folder of that name is here');
    assert.equal(reportOnDisk('demo-2026-11-24T07-00-00-000Z'), null);
  });
});

describe('a report in the store', () => {
  const key = 'artifacts/report/abc/report.json';
  const place = { key, storeUrl: null };

  test('tells both models and the settings of generation, whatever else it holds', async (t) => {
    const store = openStore(await scratchFolder(t));
    const facts = reportFacts();
    await store.put(key, Buffer.from(JSON.stringify({ version: 9, ...facts, other: 1 })));
    assert.deepEqual(await readFinishedRun(store, place), facts);
  });

  test('is missed in words that name the store', async (t) => {
    const store = openStore(await scratchFolder(t));
    await assert.rejects(readFinishedRun(store, place), {
      type: 'InvalidSpec',
      message: /report\.json is not in the store file:.*; set REVERIE_STORE to it/,
    });
  });

  test('is refused where it is no report', async (t) => {
    const store = openStore(await scratchFolder(t));
    await store.put(key, Buffer.from('{"spec": {}}'));
    await assert.rejects(readFinishedRun(store, place), { type: 'InvalidSpec', message: /at spec\.dataset/ });
    await store.put(key, Buffer.from('<html>'));
    await assert.rejects(readFinishedRun(store, place), { type: 'InvalidSpec', message: /is not JSON/ });
  });
});

const skip = temporal ? false : 'no Temporal CLI; run `node cli/bootstrap.mjs setup`';
describe('the report of a workflow', { skip }, () => {
  let server: TestWorkflowEnvironment;
  before(async () => {
    server = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'existing-path', path: temporal ?? '' } },
    });
  });
  after(() => server.teardown());

  const start = (workflowId: string, type = 'fineTune') =>
    server.client.workflow.start(type, { taskQueue: workflowId, workflowId, args: [{}] });

  /** Completes it as a worker would, and without one. */
  async function complete(workflowId: string, result: object): Promise<void> {
    await start(workflowId);
    const { workflowService } = server.connection;
    const { namespace } = server.client.options;
    const taskQueue = { name: workflowId };
    const { taskToken } = await server.connection.withDeadline(Date.now() + 30_000, () =>
      workflowService.pollWorkflowTaskQueue({ namespace, taskQueue, identity: 'test' }),
    );
    await workflowService.respondWorkflowTaskCompleted({
      namespace,
      taskToken,
      commands: [
        {
          commandType: proto.temporal.api.enums.v1.CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
          completeWorkflowExecutionCommandAttributes: {
            result: { payloads: [defaultPayloadConverter.toPayload(result)] },
          },
        },
      ],
    });
  }

  test('is found from the result of a finished run, without any worker', async () => {
    await complete('finished', { report: 'artifacts/report/abc/report.md' });
    assert.deepEqual(await reportOfWorkflow(server.client, 'finished'), {
      key: 'artifacts/report/abc/report.json',
      storeUrl: null,
    });
  });

  test('is not asked of a run that goes on, nor of one that ended without', async () => {
    const handle = await start('under-way');
    await assert.rejects(reportOfWorkflow(server.client, 'under-way'), {
      type: 'InvalidSpec',
      message: /is running; expected one that has its tuned model; wait for it with `reverie watch under-way`/,
    });
    await handle.terminate();
    await assert.rejects(reportOfWorkflow(server.client, 'under-way'), { message: /is terminated; .*another run/ });
  });

  test('is not asked of workflows that are no runs', async () => {
    await assert.rejects(reportOfWorkflow(server.client, 'nobody'), {
      type: 'InvalidSpec',
      message: /There is no run nobody in namespace default/,
    });
    await start('other', 'somethingElse');
    await assert.rejects(reportOfWorkflow(server.client, 'other'), {
      type: 'InvalidSpec',
      message: /is of type somethingElse; expected fineTune/,
    });
  });
});
