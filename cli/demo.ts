/** `reverie demo`: the whole run on the embedded model and data, from nothing to its report, on this machine. */
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CACHE_MARK, killMarked } from '../activities/trainer/process-tree.ts';
import type { RunResult } from '../contracts/workflow-api.ts';
import { connectClient } from '../workers/connect.ts';
import { follow } from './follow.ts';
import type { Observation } from './observe.ts';
import { readSpecFile } from './spec-file.ts';
import { type Stack, startStack } from './stack.ts';
import { startRun } from './start.ts';

/** It lasts half a minute, and a kill has to meet the training midway. */
const DEMO_LOOK_MS = 250;

export interface DemoOptions {
  /** Leave server and workers up. */
  keep: boolean;
  /** SIGKILL the trainer in mid-training, then compare with an undisturbed training. */
  preempt: boolean;
  /** End with one line of JSON on standard output; everything else goes to standard error. */
  json: boolean;
  /** Where server, store, cache and logs lie; null is the clone's own folder. */
  dir: string | null;
  /** Another run spec in place of the demo's. */
  spec: string | null;
  signal: AbortSignal;
}

interface Outcome {
  result: RunResult;
  runId: string;
  workflowId: string;
  report: string;
  uiUrl: string;
}

const root = join(import.meta.dirname, '..');
const ownDir = join(root, '.reverie', 'demo');
const ownSpec = join(root, 'infra', 'demo', 'spec.json');
/** The demo's model saves in a moment; nothing needs longer. */
const GRACE_SECONDS = 20;

export async function demo({ keep, preempt, json, signal, ...places }: DemoOptions): Promise<void> {
  const startedMs = performance.now();
  const demoDir = resolve(places.dir ?? ownDir);
  const specFile = places.spec ?? ownSpec;
  const out = json ? process.stderr : process.stdout;
  const folders = preempt ? ['preempted', 'undisturbed'] : ['.'];
  const outcomes: Outcome[] = [];
  let stack: Stack | null = null;
  for (const folder of folders) {
    const dir = join(demoDir, folder);
    if (preempt) await rm(dir, { recursive: true, force: true });
    stack = await openStack(dir, out, signal);
    try {
      if (preempt)
        out.write(
          folder === 'preempted'
            ? '\nOnce with a SIGKILL in mid-training:\n'
            : '\nOnce more undisturbed, in a fresh store:\n',
        );
      outcomes.push(await runOnce({ stack, dir, specFile, out, signal, kill: folder === 'preempted' }));
    } finally {
      const last = folder === folders.at(-1);
      if (!(keep && last) || signal.aborted) {
        await stack.stop();
        stack = null;
      }
    }
  }
  const [first, second] = outcomes as [Outcome, Outcome?];
  const identical = second ? first.result.weightsSha256 === second.result.weightsSha256 : null;
  conclude(first, identical, out);
  if (stack) explainKept(stack, first, out);
  if (json)
    process.stdout.write(`${JSON.stringify(machineLine(first, identical, (performance.now() - startedMs) / 1000))}\n`);
  if (identical === false) process.exitCode = 1;
}

async function openStack(dir: string, out: NodeJS.WriteStream, signal: AbortSignal): Promise<Stack> {
  const stack = await startStack({
    stateDir: dir,
    store: pathToFileURL(join(dir, 'store')).href,
    cacheDir: join(dir, 'cache'),
    graceSeconds: GRACE_SECONDS,
    signal,
  });
  Object.assign(process.env, stack.env);
  out.write(`Temporal at ${stack.address}, its UI at ${stack.uiUrl}, logs in ${stack.logs}\n`);
  return stack;
}

async function runOnce(request: {
  stack: Stack;
  dir: string;
  specFile: string;
  out: NodeJS.WriteStream;
  signal: AbortSignal;
  kill: boolean;
}): Promise<Outcome> {
  const { stack, dir, specFile, out, signal, kill } = request;
  const { client, connection } = await connectClient();
  try {
    const spec = await readSpecFile(specFile);
    const workflowId = `demo-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
    const handle = await startRun({ client, workflowId, spec });
    const uiUrl = `${stack.uiUrl}/namespaces/default/workflows/${workflowId}/${handle.firstExecutionRunId}`;
    out.write(`Run ${workflowId}: ${uiUrl}\n\n`);
    let killed = false;
    const killOnce = (seen: Observation): void => {
      if (!kill || killed || !isMidway(seen)) return;
      killed = true;
      void killMarked(CACHE_MARK, join(dir, 'cache')).then((count) =>
        out.write(`  SIGKILL to the trainer's process tree: ${count} processes gone\n`),
      );
    };
    const last = await follow({ client, workflowId, out, signal, everyMs: DEMO_LOOK_MS, onLook: killOnce });
    if (last === null) {
      await handle.cancel().catch(() => {});
      throw signal.reason;
    }
    const result = (await handle.result()) as RunResult;
    if (kill && !killed)
      throw new Error(
        'the training was over before it could be killed; expected to meet it in mid-training; try again',
      );
    return {
      result,
      workflowId,
      runId: handle.firstExecutionRunId,
      report: join(dir, 'store', result.report.replace(/\.md$/, '.html')),
      uiUrl,
    };
  } finally {
    await connection.close();
  }
}

/** Past a third, with a checkpoint committed: a kill then shows a resume. */
function isMidway({ live }: Observation): boolean {
  return live.some(
    ({ stage, step, steps, checkpointStep }) =>
      stage === 'train' && steps > 0 && step > steps / 3 && (checkpointStep ?? 0) > 0,
  );
}

function conclude({ result, report, uiUrl }: Outcome, identical: boolean | null, out: NodeJS.WriteStream): void {
  const percent = (value: number | null): string =>
    value === null ? 'nothing gradable' : `${(100 * value).toFixed(1)} %`;
  const { base, tuned, n } = result.accuracy;
  out.write(
    `\n${result.headline}\n\nAccuracy on ${n} held-out questions: base ${percent(base)}, tuned ${percent(tuned)}\n`,
  );
  out.write(`Report: ${report}\nRun in the UI: ${uiUrl}\n`);
  if (identical !== null) {
    out.write(
      `Killed and resumed in ${result.attempts} attempts; its weights are ${identical ? 'equal to the bit to' : 'NOT equal to'} those of the undisturbed run (${result.weightsSha256.slice(0, 16)}…)\n`,
    );
  }
}

function explainKept(stack: Stack, { workflowId }: Outcome, out: NodeJS.WriteStream): void {
  const at = `--address ${stack.address}`;
  out.write(
    `\nLeft up. Worth trying:\n  temporal workflow show ${at} -w ${workflowId}\n  temporal workflow query ${at} -w ${workflowId} --name status\n  temporal workflow list ${at} -q 'WorkflowType = "fineTune"'\nStop it with: kill ${Object.values(
      stack.children,
    )
      .map(({ pid }) => pid)
      .join(' ')}\n`,
  );
  for (const child of Object.values(stack.children)) child.release();
}

function machineLine({ result, runId, report }: Outcome, identical: boolean | null, seconds: number): object {
  const { accuracy, stages, attempts, weightsSha256 } = result;
  return {
    report,
    runId,
    seconds: Math.round(seconds * 1000) / 1000,
    accuracy,
    stages,
    attempts,
    weightsSha256,
    identical,
  };
}
