/** The Hub of our tests against the Hub's own Python client: what satisfies it is the real protocol. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { startHubServer } from '../fixtures/hub-server.ts';
import { tinyModel } from '../fixtures/tiny-model.ts';

const python = process.env.REVERIE_PYTHON ?? join(import.meta.dirname, '../../.reverie/python/bin/python');

const SCRIPT = `
import hashlib, json, pathlib, sys
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

cache = sys.argv[1]
folder = pathlib.Path(snapshot_download("owner/tiny", cache_dir=cache))
rows = pathlib.Path(snapshot_download("owner/rows", repo_type="dataset", cache_dir=cache))
errors = []
for name, revision in [("owner/gated", None), ("owner/nothing", None), ("owner/tiny", "v9")]:
    try:
        snapshot_download(name, revision=revision, cache_dir=cache)
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        errors.append(type(error).__name__)
snapshot_download("owner/gated", cache_dir=cache, token="hf_test")
print(json.dumps({
    "commit": folder.name,
    "files": {path.name: path.stat().st_size for path in folder.iterdir()},
    "rows": (rows / "data/train.jsonl").read_text(),
    "errors": errors,
}))
`;

test("Python's huggingface_hub downloads from it and understands its refusals", {
  skip: existsSync(python) ? false : `no Python at ${python}; run npm test or set REVERIE_PYTHON`,
}, async () => {
  const hub = await startHubServer({
    pageSize: 3,
    token: 'hf_test',
    repos: [
      { type: 'model', name: 'owner/tiny', files: tinyModel() },
      { type: 'model', name: 'owner/gated', files: { 'config.json': '{}' }, gated: true },
      { type: 'dataset', name: 'owner/rows', files: { 'data/train.jsonl': '{"a": 1}\n' } },
    ],
  });
  const cache = await mkdtemp(join(tmpdir(), 'hub-cache-'));
  try {
    const { stdout } = await execa(python, ['-c', SCRIPT, cache], {
      env: { HF_ENDPOINT: hub.url, HF_HOME: cache, HF_HUB_DISABLE_TELEMETRY: '1', HF_TOKEN: '' },
    });
    const { files, ...rest } = JSON.parse(stdout.split('\n').at(-1) ?? '');
    assert.deepEqual(rest, {
      commit: hub.commitOf('model', 'owner/tiny'),
      rows: '{"a": 1}\n',
      errors: ['GatedRepoError', 'RepositoryNotFoundError', 'RevisionNotFoundError'],
    });
    const sizes = Object.entries(tinyModel()).map(([name, content]) => [name, Buffer.byteLength(content)]);
    assert.deepEqual(files, Object.fromEntries(sizes));
  } finally {
    await hub.close();
    await rm(cache, { recursive: true, force: true });
  }
});
