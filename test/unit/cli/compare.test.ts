import assert from 'node:assert/strict';
import { chmod, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Artifacts } from '../../../activities/store/artifacts.ts';
import { openStore } from '../../../activities/store/open-store.ts';
import { type CompareOptions, compare } from '../../../cli/compare.ts';
import { python } from '../../fixtures/python.ts';
import { scratchFolder } from '../../fixtures/scratch.ts';
import { reportFacts } from './compare/report.ts';

const demoBase = join(import.meta.dirname, '..', '..', '..', 'infra', 'demo', 'base');
const sampler = { maxNewTokens: 8, steps: 4, temperature: 0 };

/** A store with a report, and the demo's base in the place of both models. Returns the report's path. */
async function finishedRun(t: TestContext): Promise<string> {
  const root = await scratchFolder(t);
  const artifacts = new Artifacts(openStore(root), join(root, 'cache'));
  const facts = reportFacts(sampler);
  const [base, tuned] = [await scratchFolder(t), await scratchFolder(t)];
  await cp(demoBase, base, { recursive: true });
  await cp(demoBase, join(tuned, 'model'), { recursive: true });
  await writeFile(join(tuned, 'history.jsonl'), '');
  const { model, train } = facts.artifacts;
  const made = {
    model: artifacts.ref(await artifacts.commit('model', model.key, base, {})),
    train: artifacts.ref(await artifacts.commit('train', train.key, tuned, {})),
  };
  const key = 'artifacts/report/abc/report.json';
  await openStore(root).put(key, Buffer.from(JSON.stringify({ ...facts, artifacts: made })));
  return join(root, key);
}

async function run(t: TestContext, options: Partial<CompareOptions> & { python?: string; isTTY?: boolean } = {}) {
  const { python: interpreter = python.path, isTTY = false, ...more } = options;
  const before = { ...process.env };
  t.after(() => {
    process.env = before;
  });
  process.env.REVERIE_CACHE_DIR = await scratchFolder(t);
  process.env.REVERIE_PYTHON = interpreter;
  const out = Object.assign(new PassThrough(), { isTTY, columns: 80, rows: 24 });
  const said = text(out);
  const report = await finishedRun(t);
  const signal = new AbortController().signal;
  try {
    await compare({ run: report, prompt: 'Which is larger, 3 or 4?', signal, out, ...more });
  } finally {
    out.end();
  }
  return said;
}

/** In the interpreter's place: what it is called with can be seen, and it ends when told. */
async function standIn(t: TestContext, body: string): Promise<string> {
  const file = join(await scratchFolder(t), 'python');
  await writeFile(file, `#!${process.execPath}\nconst args = process.argv.slice(2);\n${body}\n`);
  await chmod(file, 0o755);
  return file;
}

test('in a pipe shows what both models answer, and nothing of the way', { skip: python.skip }, async (t) => {
  const said = await run(t);
  const [, base, tuned] =
    /^Which is larger, 3 or 4\?\n\nbase \(.*\):\n(.*)\n\ntuned \(.*\):\n(.*)\n$/s.exec(said) ?? [];
  assert.ok(base && base.length > 0, said);
  assert.equal(base, tuned, 'the same model, sampler and seed');
  assert.ok(!said.includes('░') && !said.includes('\u001b'), said);
});

test('on a terminal shows tokens as they are revealed, side by side', { skip: python.skip }, async (t) => {
  const said = await run(t, { isTTY: true, maxNewTokens: 6, steps: 3 });
  assert.match(said, /step 1 of 3/);
  assert.match(said, /░/);
  const end = said.slice(said.lastIndexOf('base'));
  assert.match(end, /base.*\d tokens?.*│.*tuned.*\d tokens?/);
  assert.doesNotMatch(end, /░/);
});

test("asks with the run's sampler and its system prompt as trained", async (t) => {
  const echo = 'console.log(JSON.stringify({ done: true, text: args.join("\\n"), newTokens: 1, ended: true }))';
  const said = await run(t, { python: await standIn(t, echo), prompt: '--why?', steps: 2 });
  for (const option of ['--max-new-tokens=8', '--steps=2', '--temperature=0', '--algorithm=entropy', '--seed=7'])
    assert.ok(said.split('\n').includes(option), `${option} in ${said}`);
  assert.match(said, /--system=Be brief\.\n/);
  assert.match(said, /--\n--why\?\n/);
  assert.match(said, /--model=.*\/artifacts\/model\/1{64}\n/);
  assert.match(said, /--model=.*\/artifacts\/train\/3{64}\/model\n/);
  assert.doesNotMatch(said, /--top-k|--threads/);
});

test('passes on what the trainer refuses, in its words', { skip: python.skip }, async (t) => {
  await assert.rejects(run(t, { maxNewTokens: 512 }), {
    type: 'InvalidSpec',
    message: /expected at most 512 together.*lower --max-new-tokens/,
  });
});

test('says which model failed, and why, and stops the other', { timeout: 20_000 }, async (t) => {
  const broken =
    'if (args.some((arg) => arg.endsWith("/model"))) { console.error("CUDA out of memory"); process.exit(1); } else setTimeout(() => {}, 60_000);';
  await assert.rejects(run(t, { python: await standIn(t, broken) }), {
    message: /^The tuned model gave no answer \(CUDA out of memory\); expected its text; .*both models fit/,
  });
});

test('stops both models when it is told to stop', { timeout: 20_000 }, async (t) => {
  const pids = join(await scratchFolder(t), 'pids');
  const endless = `require('node:fs').appendFileSync(${JSON.stringify(pids)}, process.pid + '\\n'); setTimeout(() => {}, 60_000);`;
  const stop = new AbortController();
  const comparing = run(t, { python: await standIn(t, endless), signal: stop.signal });
  const started = async () => (await readFile(pids, 'utf8').catch(() => '')).trim().split('\n').filter(Boolean);
  while ((await started()).length < 2) await sleep(20);
  stop.abort(new Error('enough'));
  await assert.rejects(comparing, { message: 'enough' });
  for (const pid of await started()) assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
});
