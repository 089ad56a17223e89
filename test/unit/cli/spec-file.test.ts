import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readSpecFile } from '../../../cli/spec-file.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';

async function specFile(t: TestContext, content: unknown): Promise<{ file: string; folder: string }> {
  const folder = await scratchFolder(t);
  const file = join(folder, 'spec.json');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return { file, folder };
}

test('no file is the empty spec', async () => {
  assert.deepEqual(await readSpecFile(null), {});
});

test('takes relative sources for what lies beside the spec, and leaves all others alone', async (t) => {
  const dataset = { source: 'rows.jsonl', split: 'train' };
  const { file, folder } = await specFile(t, { model: { source: 'base' }, dataset });
  await mkdir(join(folder, 'base'));
  await writeFile(join(folder, 'rows.jsonl'), '');
  assert.deepEqual(await readSpecFile(file), {
    model: { source: join(folder, 'base') },
    dataset: { source: join(folder, 'rows.jsonl'), split: 'train' },
  });
  for (const source of ['hf://o/name', 'file:///models/base', '/models/base']) {
    const given = { model: { source }, train: { epochs: 2 } };
    assert.deepEqual(await readSpecFile((await specFile(t, given)).file), given);
  }
});

test('names a source that is not there, and where it was looked for', async (t) => {
  const { file, folder } = await specFile(t, { model: { source: 'base' } });
  await assert.rejects(readSpecFile(file), (error: Error & { type?: string }) => {
    assert.equal(error.type, 'InvalidSpec');
    assert.ok(error.message.startsWith(`Source base is not at ${join(folder, 'base')}; expected`), error.message);
    return true;
  });
});

test('refuses a file that is missing, no JSON, or no object', async (t) => {
  const refused = async (content: string, message: RegExp) =>
    assert.rejects(readSpecFile((await specFile(t, content)).file), { type: 'InvalidSpec', message });
  await assert.rejects(readSpecFile(join(await scratchFolder(t), 'none.json')), {
    type: 'InvalidSpec',
    message: /none\.json cannot be read \(ENOENT\); expected a JSON file/,
  });
  await refused('{"train": ', /spec\.json is not JSON \(.*\); expected one JSON object/);
  await refused('[]', /The run spec is an array; expected a JSON object/);
});

test('tells every problem of a spec at once', async (t) => {
  const { file } = await specFile(t, { train: { epoch: 3, microBatchSize: 'four' } });
  await assert.rejects(readSpecFile(file), (error: Error) => {
    assert.match(error.message, /train\.epoch is not a field .* did you mean train\.epochs\?/);
    assert.match(error.message, /train\.microBatchSize is "four"; expected a number/);
    return true;
  });
});
