import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSource } from '../../../../activities/download/source.ts';

const source = (text: string, revision = 'main') => {
  const result = parseSource('model', text, revision);
  assert.ok(result.ok, JSON.stringify(result));
  return result.source;
};
const problem = (text: string, revision = 'main') => {
  const result = parseSource('dataset', text, revision);
  assert.ok(!result.ok, JSON.stringify(result));
  return result.problem;
};

test('reads a Hub name with the revision beside it', () => {
  assert.deepEqual(source('hf://owner/name', 'v1.0'), {
    type: 'hub',
    name: 'owner/name',
    revision: 'v1.0',
    uri: 'hf://owner/name',
  });
});

test('a revision in the source wins over the default one', () => {
  const read = source('hf://owner/name@refs/pr/1');
  assert.equal(read.type === 'hub' && read.revision, 'refs/pr/1');
});

test('two different revisions are a conflict, two equal ones are not', () => {
  assert.match(
    problem('hf://owner/name@v1', 'v2'),
    /dataset\.source "hf:\/\/owner\/name@v1" is at odds with dataset\.revision "v2"/,
  );
  assert.equal(source('hf://owner/name@v1', 'v1').uri, 'hf://owner/name');
});

test('a file URL and an absolute path name the same folder', () => {
  assert.deepEqual(source('file:///data/my%20set/'), source('/data/my set'));
  assert.equal(source('/data/my set').uri, 'file:///data/my%20set');
});

test('refuses what it cannot read, saying what to write instead', () => {
  assert.match(problem('data/train.jsonl'), /is a relative path.*expected hf:\/\/.*write the whole path/);
  assert.match(problem('simplescaling/s1K'), /or hf:\/\/simplescaling\/s1K if you mean the Hub/);
  assert.match(problem('https://example.org/x.jsonl'), /is of the kind https:\/\/, which is not read/);
  assert.match(problem('hf://name'), /not the name of a repository/);
  assert.match(problem('hf://owner/name@'), /without a revision after @/);
  assert.match(problem('hf://../etc'), /not the name of a repository/);
  assert.match(problem('file://host/share'), /not a file URL of this host/);
});
