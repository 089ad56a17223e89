import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectionConfig } from '../../../workers/connect.ts';

test("a profile of Temporal's own configuration decides address, namespace, API key and TLS, for clients and workers", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'reverie-profile-'));
  const file = join(folder, 'temporal.toml');
  await writeFile(
    file,
    '[profile.prod]\naddress = "cloud.example:7233"\nnamespace = "night"\napi_key = "k"\n[profile.prod.tls]\nserver_name = "inner"\n',
  );
  const before = { ...process.env };
  try {
    Object.assign(process.env, { TEMPORAL_CONFIG_FILE: file, TEMPORAL_PROFILE: 'prod' });
    for (const name of ['TEMPORAL_ADDRESS', 'TEMPORAL_NAMESPACE']) delete process.env[name];
    const { options, namespace, address } = connectionConfig();
    assert.deepEqual([address, namespace, options.apiKey], ['cloud.example:7233', 'night', 'k']);
    assert.equal(typeof options.tls === 'object' && options.tls?.serverNameOverride, 'inner');
    process.env.TEMPORAL_NAMESPACE = 'day';
    assert.equal(connectionConfig().namespace, 'day', 'a variable goes before the file');
  } finally {
    process.env = before;
    await rm(folder, { recursive: true });
  }
});
