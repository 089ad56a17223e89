import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../../../workers/log.ts';

function linesOf(env: NodeJS.ProcessEnv, say: (log: ReturnType<typeof createLog>) => void) {
  const lines: string[] = [];
  say(createLog('info', env, { write: (line) => void lines.push(line) }));
  return lines;
}

test('a secret of the environment is in no line, wherever it was said', () => {
  const env = {
    HF_TOKEN: 'hf_abcdefgh',
    AWS_SECRET_ACCESS_KEY: 'quoted"and\\secret',
    TEMPORAL_API_KEY: 'hf_abcdefgh.long',
    HOME: '/home/someone',
  };
  const lines = linesOf(env, (log) => {
    log.info({ url: 'https://x/?token=hf_abcdefgh', home: env.HOME }, `with ${env.AWS_SECRET_ACCESS_KEY}`);
    log.warn({ err: new Error(`refused ${env.TEMPORAL_API_KEY}`) }, 'not reached');
  });
  const text = lines.join('');
  for (const secret of ['abcdefgh', 'and\\\\secret', '.long']) assert.ok(!text.includes(secret), text);
  assert.equal(text.match(/\[secret\]/g)?.length, 4, 'message and stack both hold the third');
  const [first] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(first?.home, '/home/someone');
});

test('of an error its own words are logged, and those of its cause, not what a library hung on it', () => {
  const error = Object.assign(new Error('outer', { cause: new Error('inner') }), { request: { headers: 'Bearer x' } });
  const [line = ''] = linesOf({}, (log) => log.error({ err: error }, 'failed'));
  assert.ok(line.includes('outer') && line.includes('inner') && !line.includes('Bearer'), line);
});
