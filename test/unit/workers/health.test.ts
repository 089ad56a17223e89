import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress, serveHealth } from '../../../workers/health.ts';

test('a worker that drains is alive and not ready', async () => {
  let state: string | null = null;
  const health = await serveHealth('127.0.0.1:0', () => state);
  const ask = async (path: string) => (await fetch(`http://${health.address}${path}`)).status;
  try {
    assert.deepEqual([await ask('/livez'), await ask('/readyz')], [200, 503]);
    state = 'RUNNING';
    assert.deepEqual([await ask('/livez'), await ask('/readyz'), await ask('/')], [200, 200, 404]);
    state = 'DRAINING';
    assert.deepEqual([await ask('/livez'), await ask('/readyz')], [200, 503]);
  } finally {
    await health.close();
  }
});

test('an address is host and port', () => {
  assert.deepEqual(parseAddress('0.0.0.0:9464'), { host: '0.0.0.0', port: 9464 });
  assert.deepEqual(parseAddress('[::]:80'), { host: '::', port: 80 });
  for (const wrong of ['9464', 'host', ':80', 'host:99999', 'a b:1'])
    assert.throws(() => parseAddress(wrong), /write it as in/);
});
