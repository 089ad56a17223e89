/** The workflow as it must not be changed while runs are open: with a command that their histories lack. */
import { sleep } from '@temporalio/workflow';
import type { RunSpecInput } from '../../contracts/run-spec.ts';
import type { RunResult } from '../../contracts/workflow-api.ts';
import { fineTune as original } from '../../workflows/fine-tune.ts';

export async function fineTune(input: RunSpecInput = {}): Promise<RunResult> {
  await sleep(1000);
  return original(input);
}
