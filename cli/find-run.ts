/** A run by its workflow id, or words for an id that names none. */
import { type Client, type WorkflowExecutionDescription, WorkflowNotFoundError } from '@temporalio/client';
import { rejected } from '../contracts/failures.ts';
import { WORKFLOW_TYPE } from '../contracts/workflow-api.ts';

/** Throws InvalidSpec where there is no such workflow, or it is none of ours. */
export async function findRun(client: Client, workflowId: string): Promise<WorkflowExecutionDescription> {
  const description = await client.workflow
    .getHandle(workflowId)
    .describe()
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw rejected(
        'InvalidSpec',
        `There is no run ${workflowId} in namespace ${client.options.namespace}; expected the workflow id of a run; list them with \`temporal workflow list\`.`,
      );
    });
  if (description.type === WORKFLOW_TYPE) return description;
  throw rejected(
    'InvalidSpec',
    `Workflow ${workflowId} is of type ${description.type}; expected ${WORKFLOW_TYPE}; name a run of Reverie.`,
  );
}
