/** Starts a run as `temporal workflow start --type fineTune` would, with a summary and details for the UI. */
import {
  type Client,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowHandleWithFirstExecutionRunId,
} from '@temporalio/client';
import { rejected } from '../contracts/failures.ts';
import { type RunSpecInput, runSpecSchema } from '../contracts/run-spec.ts';
import { parseRunSpec } from '../contracts/spec-problems.ts';
import { TASK_QUEUE, WORKFLOW_TYPE } from '../contracts/workflow-api.ts';

export interface StartRequest {
  client: Client;
  workflowId: string;
  spec: RunSpecInput;
}

/** Throws InvalidSpec for a bad spec, and where a run of this id is open: a run is never started twice. */
export async function startRun({
  client,
  workflowId,
  spec,
}: StartRequest): Promise<WorkflowHandleWithFirstExecutionRunId> {
  const parsed = parseRunSpec(spec);
  if (!parsed.ok) throw rejected('InvalidSpec', ...parsed.problems);
  const { policy } = parsed.spec;
  try {
    return await client.workflow.start(WORKFLOW_TYPE, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args: [spec],
      ...presentation(spec),
      priority: { priorityKey: policy.priority },
      workflowIdConflictPolicy: 'FAIL',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw rejected(
      'InvalidSpec',
      `A run ${workflowId} is open; expected an id that is free; look at it with \`reverie watch ${workflowId}\`, or give another id with --id.`,
    );
  }
}

/** What the UI shows of a run from its start on. */
export function presentation(spec: RunSpecInput): { staticSummary: string; staticDetails: string } {
  const { model, dataset } = runSpecSchema.parse(spec);
  return {
    staticSummary: `Fine-tune ${name(model.source)} on ${name(dataset.source)}`,
    staticDetails: `The run spec as it was given:\n\n\`\`\`json\n${JSON.stringify(spec, null, 2)}\n\`\`\``,
  };
}

const name = (source: string): string => source.replace(/\/+$/, '').split('/').at(-1) ?? source;
