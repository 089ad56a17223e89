/** What a trainer's ending becomes, with a program in its place that ends as trainers do. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type DoneEvent, runTrainer } from '../../../../activities/trainer/run-trainer.ts';
import { phases, type TrainerPhase } from '../../../../contracts/trainer.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

/** A trainer that has told of its first step, and then does what the shell is told. */
async function trainerThat(ends: string, context: TestContext): Promise<DoneEvent> {
  const runDir = await scratchFolder(context);
  const program = join(runDir, 'python');
  const event = JSON.stringify({ type: 'phase', at: 1, phase: 'validation' });
  const lines = [
    '#!/bin/sh',
    'while [ "$1" != --run-dir ]; do shift; done',
    `echo '${event}' > "$2/events.jsonl"`,
    ends,
  ];
  await writeFile(program, lines.join('\n'), { mode: 0o755 });
  return runTrainer({
    python: program,
    command: 'train',
    spec: { microBatchSize: 8 },
    runDir,
    attempt: `run-trainer-test-${process.pid}-${Math.random()}`,
    cacheDir: runDir,
    ranks: 1,
    signal: new AbortController().signal,
    deadlines: Object.fromEntries(phases.map((phase) => [phase, 60])) as Record<TrainerPhase, number>,
    graceSeconds: () => 1,
    onEvent: () => {},
    onAlive: () => {},
  });
}

test('a library that ends the process for want of memory is memory that ran out, and shrinks', async (t) => {
  for (const told of ['memory allocation of 1048576 bytes failed', 'what():  std::bad_alloc']) {
    await assert.rejects(trainerThat(`echo "${told}" >&2; kill -ABRT $$`, t), {
      name: 'ReverieFailure',
      type: 'OutOfMemory',
      details: { phase: 'validation', microBatchSize: 8, step: null },
    });
  }
});

test('another abort is a crash, a kill a preemption', async (t) => {
  await assert.rejects(trainerThat('echo "double free" >&2; kill -ABRT $$', t), { type: 'TrainerCrashed' });
  await assert.rejects(trainerThat('kill -KILL $$', t), { type: 'Preempted' });
  await assert.rejects(trainerThat('exit 75', t), { type: 'Preempted' });
});
