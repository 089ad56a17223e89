/** How activities are called: queues, timeouts, retry policies, priorities, and the summary that the UI shows. */
import { ActivityCancellationType, type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type { RunSpec } from '../contracts/run-spec.ts';
import type { HoldBack } from '../contracts/workflow-api.ts';
import type { CpuActivities, GpuActivities } from './activity-types.ts';

/** On the workflow's own queue. A named failure comes back at once; what nobody has named is tried five more times. */
export function cpu(summary: string, waitSeconds = 0): CpuActivities {
  const activities = proxyActivities<CpuActivities>({
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: '60 seconds',
    retry: { initialInterval: '1 second', maximumInterval: '1 minute', maximumAttempts: waitSeconds > 0 ? 7 : 6 },
    summary,
  });
  return heldBack(activities, waitSeconds);
}

/**
 * On the GPU queue. Retried without limit, since all that is retryable there is a preemption or a lost worker, which
 * costs no history; every other failure comes back for a verdict. The wait stays short, though every preemption that a
 * training has come through lengthens it. Training goes before evaluation.
 */
export function gpu(spec: RunSpec, kind: 'train' | 'eval', summary: string, waitSeconds = 0): GpuActivities {
  const { priority, fairnessKey, heartbeatTimeoutSeconds } = spec.policy;
  const priorityKey = kind === 'train' ? priority : Math.min(5, priority + 1);
  const options: ActivityOptions = {
    taskQueue: spec.train.queue,
    startToCloseTimeout: '30 days',
    heartbeatTimeout: heartbeatTimeoutSeconds * 1000,
    retry: { initialInterval: '1 second', backoffCoefficient: 1.5, maximumInterval: '5 seconds' },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    priority: { priorityKey, ...(fairnessKey === null ? {} : { fairnessKey }) },
    summary,
  };
  return heldBack(proxyActivities<GpuActivities>(options), waitSeconds);
}

/** Each call's first attempt does nothing but have Temporal begin the next one after the wait. */
function heldBack<A extends object>(activities: A, waitSeconds: number): A {
  if (waitSeconds === 0) return activities;
  return new Proxy(activities, {
    get(target, name) {
      const call = Reflect.get(target, name) as (input: unknown, wait: HoldBack) => Promise<unknown>;
      return (input: unknown) => call(input, { waitSeconds });
    },
  });
}
