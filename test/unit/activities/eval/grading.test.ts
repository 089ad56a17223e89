import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { gradePredictions } from '../../../../activities/eval/grading.ts';
import { ReverieFailure } from '../../../../contracts/failures.ts';
import { prediction } from './prediction.ts';

const root = join(import.meta.dirname, '../../../..');
const python = process.env.REVERIE_PYTHON ?? join(root, '.reverie/python/bin/python');
process.env.PYTHONPATH = [join(root, 'trainer'), process.env.PYTHONPATH].filter(Boolean).join(delimiter);
const withPython = existsSync(python) ? {} : { skip: `no Python at ${python}; run npm test or set REVERIE_PYTHON` };

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reverie-grading-'));
});
after(() => rm(dir, { recursive: true }));

/** A program in the place of Python that reads its input and then does as told. */
async function impostor(name: string, body: string): Promise<string> {
  const file = join(dir, name);
  await writeFile(file, `#!/bin/sh\n${body}\n`);
  await chmod(file, 0o755);
  return file;
}

const oneGrade = `echo '{"verdict":"correct","extracted":"1","reason":"equal"}'`;

const crashed = (pattern: RegExp) => (error: unknown) =>
  error instanceof ReverieFailure && error.type === 'TrainerCrashed' && pattern.test(error.message);

test('grades in order with the real grader', withPython, async () => {
  let beats = 0;
  const grades = await gradePredictions({
    python,
    predictions: [
      prediction(0, { reference: '\\boxed{\\frac{1}{2}}', prediction: 'So it is \\boxed{0.5}.' }),
      prediction(1, { reference: '7', prediction: 'The answer is 8.' }),
      prediction(2, { reference: '7', prediction: 'I keep thinking.\n\u2028\ud800' }),
      prediction(3, { reference: 'We have shown that this holds for all n, which completes the proof.' }),
    ],
    timeoutSeconds: 5,
    progress: () => beats++,
  });
  assert.deepEqual(
    grades.map(({ verdict }) => verdict),
    ['correct', 'incorrect', 'incorrect', 'ungradable'],
  );
  assert.equal(beats, 4);
});

test('starts nothing when there is nothing to grade', async () => {
  assert.deepEqual(await gradePredictions({ python: '/nonexistent', predictions: [], timeoutSeconds: 5 }), []);
});

test('fails as TrainerCrashed, with its last words, when the grader ends early', async () => {
  const program = await impostor('early', `cat > /dev/null; ${oneGrade}; echo 'no memory left' >&2; exit 3`);
  await assert.rejects(
    gradePredictions({ python: program, predictions: [prediction(0), prediction(1)], timeoutSeconds: 5 }),
    crashed(/exit code 3 with 1 given.*look at prediction row-1.*no memory left/s),
  );
});

test('fails as TrainerCrashed when the grader answers something else', async () => {
  const program = await impostor('other', `cat > /dev/null; echo '{"verdict":"maybe"}'; ${oneGrade}`);
  await assert.rejects(
    gradePredictions({ python: program, predictions: [prediction(0)], timeoutSeconds: 5 }),
    crashed(/answered .*maybe/),
  );
});

test('fails as TrainerCrashed when there are fewer grades than predictions', async () => {
  const program = await impostor('fewer', `cat > /dev/null; ${oneGrade}`);
  await assert.rejects(
    gradePredictions({ python: program, predictions: [prediction(0), prediction(1)], timeoutSeconds: 5 }),
    crashed(/exit code 0 with 1 given; expected grades: 2/),
  );
});

test('fails as TrainerCrashed when the interpreter is missing', async () => {
  await assert.rejects(
    gradePredictions({ python: join(dir, 'missing'), predictions: [prediction(0)], timeoutSeconds: 5 }),
    crashed(/ENOENT/),
  );
});

test('stops the grader when aborted', async () => {
  const program = await impostor('slow', 'exec sleep 60');
  const started = Date.now();
  await assert.rejects(
    gradePredictions({
      python: program,
      predictions: [prediction(0)],
      timeoutSeconds: 5,
      signal: AbortSignal.timeout(300),
    }),
    { name: 'TimeoutError' },
  );
  assert.ok(Date.now() - started < 10_000);
});
