/** A deploy in the middle of runs, on the real server: a new build takes new runs, and none that is open is harmed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { findTemporal } from '../../cli/setup/temporal.mjs';
import { deferred } from '../fixtures/deferred.ts';
import { eventually } from '../fixtures/eventually.ts';
import { failure } from '../fixtures/scripted-activities.ts';
import { DEPLOYMENT, type ScriptedRun, TemporalHouse } from '../fixtures/temporal-house.ts';

let house: TemporalHouse;
before(async () => {
  house = await TemporalHouse.open({ build: 'one' });
});
after(() => house.close());

/** Builds whose workers completed its workflow tasks, in order and each once. */
async function builds(run: ScriptedRun): Promise<string[]> {
  const tasks = (await run.events()).flatMap((event) => event.workflowTaskCompletedEventAttributes ?? []);
  return [...new Set(tasks.map(({ deploymentVersion }) => deploymentVersion?.buildId ?? 'none'))];
}

test('a run that a deploy meets ends on its own build, and one whose build is gone goes on under the new one', async () => {
  const ready = deferred();
  const spec = { policy: { maxCrashes: 0 } };
  const atWork = await house.start('at-work', spec, { train: () => ready.promise });
  const waiting = await house.start('waiting', spec, {
    train: ({ call }) => {
      if (call === 1) throw failure('TrainerCrashed', { exitCode: 1, signal: null, step: null, log: '' });
    },
  });
  await waiting.parked();
  const retireOne = await house.deploy('two');

  const later = await house.start('later', {});
  ready.resolve();
  await Promise.all([atWork.result(), later.result()]);
  assert.deepEqual(await builds(atWork), ['one']);
  assert.deepEqual(await builds(later), ['two']);

  await retireOne();
  // As the runbook has it.
  const temporal = (await findTemporal()) ?? assert.fail('no Temporal CLI');
  const { address } = house;
  await execa(temporal, [
    ...['workflow', 'update-options', '--address', address, '-w', waiting.workflowId],
    ...['--versioning-override-behavior', 'pinned', '--versioning-override-deployment-name', DEPLOYMENT],
    ...['--versioning-override-build-id', 'two'],
  ]);
  await eventually('the new build answers', () => waiting.status().catch(() => null));
  await waiting.resume({});
  await waiting.result();
  assert.deepEqual(await builds(waiting), ['one', 'two']);
});
