/** The verbs about one run against the real server: what they say, and how they end where nobody answers. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { inspect } from 'node:util';
import { ask } from '../../../cli/nobody-answers.ts';
import { report } from '../../../cli/report.ts';
import { status } from '../../../cli/status.ts';
import { abort, cancel, changesFrom, resume } from '../../../cli/tell-run.ts';
import type { RunStatus } from '../../../contracts/workflow-api.ts';
import { exitCodeOf } from '../../../workers/exit-code.ts';
import { failure, type Script, untilCancelled } from '../../fixtures/scripted-activities.ts';
import { TemporalHouse } from '../../fixtures/temporal-house.ts';

test('settings make changes, values are JSON or strings', () => {
  const changes = changesFrom(['train.microBatchSize=1', 'train.queue=big-gpu', 'eval.sampler.topP=null']);
  assert.deepEqual(JSON.parse(JSON.stringify(changes)), {
    train: { microBatchSize: 1, queue: 'big-gpu' },
    eval: { sampler: { topP: null } },
  });
});

test('a setting without a field or a value is refused in words', () => {
  for (const setting of ['train', 'train=1', 'train.epochs', '=', ''])
    assert.throws(() => changesFrom([setting]), /--set got .*; expected a field and its value; write --set/);
  changesFrom(['train.__proto__.polluted=1']);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});

suite('verbs', () => {
  let house: TemporalHouse;
  const told: string[] = [];
  const write = process.stdout.write.bind(process.stdout);
  before(async () => {
    house = await TemporalHouse.open();
    process.env.TEMPORAL_ADDRESS = house.address;
  });
  after(() => house.close());

  /** What a verb writes to standard output. */
  async function said(verb: () => Promise<void>): Promise<string> {
    told.length = 0;
    process.stdout.write = (text: string | Uint8Array): boolean => told.push(String(text)) > 0;
    try {
      await verb();
    } finally {
      process.stdout.write = write;
    }
    return told.join('');
  }

  const deadlineSeconds = 20;
  const crashesOnce: Script = {
    train: ({ call }) => {
      if (call === 1) throw failure('TrainerCrashed', { exitCode: 1, signal: null, step: 3, log: '' });
    },
  };

  test('resume takes a parked run on with changes; a refusal is the run’s own words', async () => {
    const run = await house.start('verb resume', { policy: { maxCrashes: 0 } }, crashesOnce);
    await run.parked();
    const { workflowId } = run;
    await assert.rejects(resume({ run: workflowId, set: ['train.microBatch=1'], deadlineSeconds }), (error: Error) => {
      assert.equal(exitCodeOf(error), 1);
      assert.match(error.message, /^The changes were not taken\. train\.microBatch is not a field .*did you mean/);
      return true;
    });
    const answer = await said(() => resume({ run: workflowId, set: ['train.queue=reverie-big-gpu'], deadlineSeconds }));
    assert.equal(answer, 'The changes hold from the next attempt on. The run goes on with train.\n');
    await run.result();
    assert.equal(run.calls('train').at(-1)?.queue, 'reverie-big-gpu');
    const closed = resume({ run: workflowId, set: [], deadlineSeconds });
    await assert.rejects(closed, /^ReverieFailure: Run verb-resume is completed; expected an open one; Reset/);
  });

  test('abort and cancel end a run', async () => {
    const first = await house.start('verb abort', {}, { train: untilCancelled });
    await first.until('trains', () => first.calls('train').length > 0);
    const answer = await said(() => abort({ run: first.workflowId, reason: 'wrong data', deadlineSeconds }));
    assert.match(answer, /^The run is being aborted/);
    assert.match((await first.failure()).message, /wrong data/);

    const second = await house.start('verb cancel', {}, { train: untilCancelled });
    await second.until('trains', () => second.calls('train').length > 0);
    assert.match(
      await said(() => cancel({ run: second.workflowId, deadlineSeconds })),
      /^Run verb-cancel is cancelled;/,
    );
  });

  test('each ends by its deadline with a hint where no worker answers', async () => {
    const run = 'nobody-there';
    await house.client.workflow.start('fineTune', { taskQueue: 'nobody', workflowId: run, args: [{}] });
    const nobody = (error: Error): boolean => {
      assert.equal(exitCodeOf(error), 2, inspect(error));
      assert.match(error.message, /expected a CPU worker.* `reverie worker cpu`/);
      return true;
    };
    const startedMs = performance.now();
    await assert.rejects(resume({ run, set: [], deadlineSeconds: 1 }), nobody);
    await assert.rejects(abort({ run, reason: null, deadlineSeconds: 1 }), nobody);
    await assert.rejects(
      ask(house.client, run, 1, () => house.client.workflow.getHandle(run).query<RunStatus>('status')),
      nobody,
    );
    await assert.rejects(status({ run, json: false, deadlineSeconds: 1 }), nobody);
    await assert.rejects(cancel({ run, deadlineSeconds: 1 }), nobody);
    assert.ok(performance.now() - startedMs < 15_000);
    await house.client.workflow.getHandle(run).terminate();
  });

  test('a run that is not there, or has no report, is bad input', async () => {
    const nobody = (error: Error): boolean => {
      assert.equal(exitCodeOf(error), 2);
      assert.match(error.message, /^There is no run none in namespace default; expected the workflow id of a run/);
      return true;
    };
    await assert.rejects(resume({ run: 'none', set: [], deadlineSeconds }), nobody);
    await assert.rejects(report({ run: 'none', format: 'markdown', where: true }), nobody);
  });
});
