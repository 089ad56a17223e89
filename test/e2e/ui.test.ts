/**
 * What an operator and a reader see, in Chromium: the run in Temporal's UI while it trains and when it is done, and
 * the report. With REVERIE_PICTURES=1 the README's pictures are taken anew.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Client, Connection, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import type { Browser, Page } from 'playwright-core';
import { observe } from '../../cli/observe.ts';
import { readSpecFile } from '../../cli/spec-file.ts';
import { type Stack, startStack } from '../../cli/stack.ts';
import { startRun } from '../../cli/start.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import { launchBrowser, withoutChromium } from '../fixtures/browser.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pictures = join(root, 'infra', 'pictures');
const takesPictures = process.env.REVERIE_PICTURES === '1';
const skip = withoutChromium;

let stack: Stack;
let browser: Browser;
let connection: Connection;
let dir: string;
let handle: WorkflowHandleWithFirstExecutionRunId;

before(async () => {
  if (skip !== false) return;
  dir = await mkdtemp(join(tmpdir(), 'reverie-ui-'));
  const store = pathToFileURL(join(dir, 'store')).href;
  stack = await startStack({ stateDir: dir, store, cacheDir: join(dir, 'cache'), graceSeconds: 20 });
  connection = await Connection.connect({ address: stack.address });
  browser = await launchBrowser();
  if (takesPictures) await mkdir(pictures, { recursive: true });
});

after(async () => {
  await browser?.close();
  await connection?.close();
  await stack?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
  await rm('/tmp/reverie-demo', { recursive: true, force: true });
});

test('the details pane tells stage, step and loss while the run trains', { skip, timeout: 240_000 }, async () => {
  const client = new Client({ connection });
  // Copied, so that the pictures show no path of the machine they are taken on.
  await cp(join(root, 'infra', 'demo'), '/tmp/reverie-demo', { recursive: true });
  const spec = await readSpecFile('/tmp/reverie-demo/spec.json');
  const quick = { ...spec, eval: { ...spec.eval, maxSamples: takesPictures ? null : 10 } };
  // The first note comes after 15 s of the activity: training goes on well beyond it, on a faster machine too.
  const train = { ...spec.train, epochs: takesPictures ? 3 : 6 };
  handle = await startRun({ client, workflowId: 'dream-s1k-style', spec: { ...quick, train } });
  for (;;) {
    const seen = await observe(client, handle.workflowId);
    assert.equal(seen?.execution ?? 'running', 'running', 'the run closed before it was seen training');
    if (seen?.status.progress?.stage === 'train' && seen.status.progress.loss !== null) break;
    await sleep(200);
  }
  const page = await open(`${runPage()}/user-metadata`);
  const pane = await currentDetails(page);
  assert.match(pane, /filter.* rows kept/);
  assert.match(pane, /step \d+ of \d+ · about .* to go, as of \d\d:\d\d:\d\d UTC/);
  assert.match(pane, /loss \d.* tokens\/s/);
  assert.match(pane, /no checkpoint yet|last checkpoint: step \d+, .* old at this note/);
  await picture(page, 'run-training.png');
});

test('the timeline tells each stage by its summary when the run is done', { skip, timeout: 240_000 }, async () => {
  await handle.result();
  const page = await open(runPage());
  for (const summary of ['Check the run spec', 'Fine-tune', 'Evaluate the tuned model', 'Render the report']) {
    await page.getByText(summary).first().waitFor();
  }
  await picture(page, 'run-done.png');
});

test('the report opens from the store by itself, with its curve and both answers side by side', {
  skip,
  timeout: 60_000,
}, async () => {
  const { report } = (await handle.result()) as RunResult;
  const page = await open(pathToFileURL(join(dir, 'store', report.replace(/\.md$/, '.html'))).href, 980, 800);
  await page.getByRole('heading', { name: '2 · Training' }).waitFor();
  assert.ok((await page.locator('svg').count()) >= 3, 'curve, lengths and accuracy are drawn');
  await picture(page, 'report.png');
});

const runPage = (): string =>
  `${stack.uiUrl}/namespaces/default/workflows/${handle.workflowId}/${handle.firstExecutionRunId}`;

/** The UI shows Markdown in frames of their own. */
async function currentDetails(page: Page): Promise<string> {
  for (;;) {
    const texts = await Promise.all(
      page.frames().map((frame) =>
        frame
          .locator('body')
          .textContent()
          .catch(() => null),
      ),
    );
    const found = texts.find((text) => text?.includes('rows kept'));
    if (found) return found;
    await sleep(200);
  }
}

async function open(url: string, width = 1280, height = 900): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height } });
  await page.goto(url);
  return page;
}

async function picture(page: Page, name: string): Promise<void> {
  if (!takesPictures) return;
  await sleep(1500);
  await page.screenshot({ path: join(pictures, name) });
}
