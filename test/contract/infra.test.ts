/** The files under infra/ against their formats' own validators, and against what the code relies on. Checked, not run. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { searchAttributes } from '../../contracts/search-attributes.ts';
import { python } from '../fixtures/python.ts';

const infra = join(import.meta.dirname, '..', '..', 'infra');
const { skip } = python;
const KUBERNETES = '1.34';
/** From no more rights than needed, 0, to all, 100; in systemd's own reckoning. */
const MOST_EXPOSURE = 30;

const tool = (name: string) => join(dirname(python.path), name);
const read = (...path: string[]) => readFile(join(infra, ...path), 'utf8');

async function filesIn(folder: string, name: RegExp): Promise<string[]> {
  const files = (await readdir(join(infra, folder), { recursive: true })).filter((file) => name.test(file));
  assert.ok(files.length > 0);
  return files.map((file) => join(infra, folder, file));
}

/** Its words where it refuses. */
async function accepted(program: string, args: string[]): Promise<void> {
  const { failed, all } = await execa(program, args, { all: true, reject: false });
  assert.equal(failed, false, String(all));
}

test('compose.yaml follows the Compose specification', { skip }, async () => {
  await accepted(tool('check-jsonschema'), ['--builtin-schema', 'vendor.compose-spec', join(infra, 'compose.yaml')]);
});

test('Kubernetes takes every object', { skip }, async () => {
  const files = await filesIn('kubernetes', /(cpu|gpu|namespace)\.yaml$/);
  await accepted(tool('kubernetes-validate'), ['-k', KUBERNETES, '--strict', ...files]);
});

test('Kustomize finds what it names', async () => {
  for (const file of await filesIn('kubernetes', /kustomization\.yaml$/)) {
    const text = await readFile(file, 'utf8');
    const named = [...text.matchAll(/^ {2}- (?:path: )?([\w./-]+)$/gm)].map(([, path = '']) => path);
    assert.ok(named.length > 0, file);
    for (const path of named)
      await assert.doesNotReject(readdir(dirname(join(dirname(file), path))), `${file}: ${path}`);
  }
});

test('Dockerfiles follow what hadolint holds to', { skip }, async () => {
  await accepted(tool('hadolint'), await filesIn('images', /Dockerfile$/));
});

const systemd = await execa('systemd-analyze', ['--version'], { reject: false });
const noSystemd = systemd.failed ? 'no systemd-analyze on this machine' : false;

test('systemd takes the units, and the workers have no more rights than they need', { skip: noSystemd }, async () => {
  const units = await filesIn('systemd', /\.(service|target)$/);
  await accepted('systemd-analyze', ['verify', '--man=no', ...units]);
  const hardened = units.filter((unit) => /reverie-(temporal|cpu|gpu)\.service$/.test(unit));
  await accepted('systemd-analyze', ['security', '--offline=yes', `--threshold=${MOST_EXPOSURE}`, ...hardened]);
});

/** File, the notice its place gives, what it leaves the trainer, and when the place kills: in seconds. */
const graces: [string, RegExp, RegExp, number][] = [
  ['systemd/reverie-gpu.service', /--grace-seconds (\d+)/, /TimeoutStopSec=(\d+)/, 150],
  ['compose.yaml', /--grace-seconds, ["'](\d+)/, /stop_grace_period: (\d+)s/, 150],
  ['kubernetes/overlays/aws-spot/gpu.yaml', /--grace-seconds, ["'](\d+)/, /terminationGracePeriodSeconds: (\d+)/, 120],
  ['kubernetes/overlays/gke-spot/gpu.yaml', /--grace-seconds, ["'](\d+)/, /terminationGracePeriodSeconds: (\d+)/, 15],
  [
    'kubernetes/overlays/scale-from-zero/gpu-job.yaml',
    /--grace-seconds, ["'](\d+)/,
    /terminationGracePeriodSeconds: (\d+)/,
    120,
  ],
];
for (const [file, grace, kill, most] of graces) {
  test(`${file} leaves the trainer its grace before it kills`, async () => {
    const text = await read(file);
    const [graceSeconds, killSeconds] = [grace, kill].map((pattern) => Number(pattern.exec(text)?.[1]));
    assert.ok(
      Number(graceSeconds) + 5 <= Number(killSeconds) && Number(killSeconds) <= most,
      `${graceSeconds}, ${killSeconds}`,
    );
  });
}

test('every server that is set up here has fairness on, one partition, and the search attributes', async () => {
  const [unit, config, compose] = await Promise.all([
    read('systemd/reverie-temporal.service'),
    read('compose/dynamic-config.yaml'),
    read('compose.yaml'),
  ]);
  for (const [name, type] of Object.entries(searchAttributes)) assert.ok(unit.includes(`${name}=${type}`), name);
  for (const setting of ['enableFairness', 'numTaskqueueReadPartitions', 'numTaskqueueWritePartitions']) {
    assert.ok(unit.includes(`matching.${setting}=`) && config.includes(`matching.${setting}:`), setting);
  }
  assert.ok(compose.includes('workers/prepare.ts') && compose.includes('./compose/dynamic-config.yaml:'));
});

test('every image is pinned, and every worker runs without root', async () => {
  const dockerfiles = await filesIn('images', /Dockerfile$/);
  const texts = await Promise.all([...dockerfiles, join(infra, 'compose.yaml')].map((file) => readFile(file, 'utf8')));
  for (const [, image = ''] of texts.join('\n').matchAll(/^(?:FROM| +image:) (\S+)/gm)) {
    assert.match(image, /^reverie-(cpu|gpu)$|:v?\d+\.\d+/, image);
  }
  for (const text of texts.slice(0, 2)) assert.match(text, /^USER 1000:1000$/m);
  for (const file of await filesIn('kubernetes', /^(base.(cpu|gpu)|.*gpu-job)\.yaml$/)) {
    assert.match(await readFile(file, 'utf8'), /runAsNonRoot: true/);
  }
});
