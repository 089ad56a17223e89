import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { Artifacts } from '../../../../activities/store/artifacts.ts';
import { Checkpoints } from '../../../../activities/store/checkpoints.ts';
import { FileStore } from '../../../../activities/store/file-store.ts';
import type { Transfer } from '../../../../activities/store/store.ts';
import { fetchStart } from '../../../../activities/train/start.ts';
import type { TrainAttempt } from '../../../../activities/train/train.ts';
import { ProgressView } from '../../../../activities/trainer/progress.ts';
import { type RunSpecInput, runSpecSchema } from '../../../../contracts/run-spec.ts';
import { sha256 } from '../../../../contracts/stage-keys.ts';
import type { ArtifactRef, ArtifactStage } from '../../../../contracts/stages.ts';
import { eventually } from '../../../fixtures/eventually.ts';
import { scratchFolder } from '../../../fixtures/scratch.ts';

/**
 * For a Python: tells versions; asked to compile, notes whether weights are there, and writes what it was asked for
 * once they are on their way.
 */
const PYTHON = `#!/bin/sh
[ "$1" = -c ] && echo 3.11 2.11 && exit
model=$(sed -n 's/.*"model": "\\(.*\\)",/\\1/p' "$5")
ls "$model" | grep -v manifest >> "$0.told"
[ -e "$0.fails" ] && exit 1
tries=0
until [ -e "$0.arriving" ]; do tries=$((tries + 1)); [ $tries -gt 200 ] && exit 1; sleep 0.02; done
mkdir -p "$(dirname "$7")" && echo code > "$7"
`;

/** A training's inputs in a store, and hosts that have none of them. */
async function setUp(t: TestContext, train: RunSpecInput['train']) {
  const root = await scratchFolder(t);
  const python = join(root, 'python');
  await writeFile(python, PYTHON);
  await chmod(python, 0o755);
  /** Weights come only when this is resolved. */
  let arrive: Promise<unknown> = Promise.resolve();
  class SlowStore extends FileStore {
    override async download(key: string, file: string, transfer?: Transfer) {
      if (key.endsWith('.safetensors')) {
        await writeFile(`${python}.arriving`, '');
        await arrive;
      }
      return super.download(key, file, transfer);
    }
  }
  const store = new SlowStore(join(root, 'store'));
  const put = async (stage: ArtifactStage, files: string[]): Promise<ArtifactRef> => {
    const dir = join(root, stage);
    await mkdir(dir);
    for (const file of files) await writeFile(join(dir, file), '{}');
    const artifacts = new Artifacts(store, join(root, 'elsewhere'));
    return artifacts.ref(await artifacts.commit(stage, sha256(stage), dir, null));
  };
  const request = {
    spec: runSpecSchema.parse({ train }),
    filtered: await put('filter', ['train.parquet', 'validation.parquet']),
    model: await put('model', ['config.json', 'tokenizer.json', 'model.safetensors']),
    ...{ seenStep: null, leaveOutSteps: [] },
  };
  const start = (cacheDir: string, { gpus = 0, fails = false } = {}) => {
    const log = pino({ level: 'silent' });
    const view = new ProgressView({ stage: 'train', attempt: 1, host: 'h', note: () => {} });
    const attempt = {
      ...{ request, trainKey: 'key', view, log: { notice: assert.fail } },
      ...{ execution: { attemptPrefix: `start-${process.pid}-${Math.random()}` } },
      deps: {
        ...{
          store,
          artifacts: new Artifacts(store, join(root, cacheDir)),
          cacheDir: join(root, cacheDir),
          python,
          log,
        },
        ...{ ranks: 1, gpus, gpuModels: [], kernelsSecret: 'ours' },
      },
      context: { signal: new AbortController().signal, progress: () => {}, transfer: {} },
    } as unknown as TrainAttempt;
    const folder = { runDir: join(root, cacheDir, 'run'), checkpoints: join(root, cacheDir, 'run', 'resume') };
    return writeFile(join(root, fails ? 'python.fails' : 'python.works'), '').then(() =>
      fetchStart(attempt, { ...folder, release: async () => {} }),
    );
  };
  const compiledBeside = () => readFile(join(root, 'python.told'), 'utf8').catch(() => null);
  const publish = async (manifest: object): Promise<void> => {
    const folder = join(root, 'step-3');
    await mkdir(folder, { recursive: true });
    const history = '';
    const files = [{ path: 'history.jsonl', size: 0, sha256: sha256(history) }];
    await writeFile(join(folder, 'history.jsonl'), history);
    const whole = { version: 1, identity: 'key', step: 3, validationLoss: null, files, ...manifest };
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(whole));
    await new Checkpoints(store, 'key').publish(`attempt-${Math.random()}`, folder);
  };
  const hold = (until: Promise<unknown>): void => {
    arrive = until;
  };
  return { start, hold, compiledBeside, publish };
}

test('kernels are compiled while the weights are on their way, and never again, here or elsewhere', async (t) => {
  const { start, hold, compiledBeside } = await setUp(t, { compile: 'on' });
  hold(eventually('compiling has begun', compiledBeside));
  const first = await start('first');
  assert.equal(await compiledBeside(), 'config.json\ntokenizer.json\n', 'no weights were there');
  assert.equal(await first.kernels?.exist(), true);
  assert.equal((await readFile(join(first.trainerSpec.model, 'model.safetensors'), 'utf8')).length, 2);
  hold(Promise.resolve());
  await start('first');
  const second = await start('second');
  assert.equal(await readFile(second.kernels?.file ?? '', 'utf8'), 'code\n', 'from the store');
  assert.equal((await compiledBeside())?.split('config.json').length, 2, 'compiled once');
});

test('a compiler that fails ahead fails nothing; the training has the weights and compiles itself', async (t) => {
  const { start, compiledBeside } = await setUp(t, { compile: 'on' });
  const { kernels, trainerSpec } = await start('host', { fails: true });
  assert.notEqual(await compiledBeside(), null);
  assert.equal(await kernels?.exist(), false);
  await readFile(join(trainerSpec.model, 'model.safetensors'));
  await start('host');
  assert.equal((await compiledBeside())?.split('config.json').length, 2, 'not ahead where no weights are awaited');
});

test('a host that goes on from a checkpoint with all weights in it does not fetch those of the base', async (t) => {
  const { start, hold, publish } = await setUp(t, {});
  const refused = Promise.reject(new Error('weights were asked for'));
  refused.catch(() => {});
  hold(refused);
  await publish({ recipe: 'full-bf16-sr', storedDtype: 'bfloat16' });
  const { found, trainerSpec } = await start('full');
  assert.equal(found?.step, 3);
  assert.deepEqual((await readdir(trainerSpec.model)).sort(), ['config.json', 'manifest.json', 'tokenizer.json']);
  for (const [name, manifest] of [
    ['adapters', { recipe: 'lora', storedDtype: 'bfloat16' }],
    ['earlier', { recipe: 'full-bf16-sr' }],
  ] as const) {
    await publish(manifest);
    await assert.rejects(start(name), /weights were asked for/);
  }
});

test('nothing is compiled ahead of a small model, and nothing is kept for a training that does not compile', async (t) => {
  const { start, compiledBeside } = await setUp(t, {});
  assert.notEqual((await start('gpu', { gpus: 1 })).kernels, null);
  assert.equal((await start('cpu')).kernels, null);
  assert.equal(await compiledBeside(), null);
});
