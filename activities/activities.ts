/** All activities, by the queue that they are for. */
import { createConvertActivities } from './convert/activity.ts';
import type { ActivityDeps } from './deps.ts';
import { createDownloadActivities } from './download/activity.ts';
import { createEvalActivities, createEvalLookUp } from './eval/activity.ts';
import { createFilterActivities } from './filter/activity.ts';
import type { GpuDeps } from './gpu-deps.ts';
import { createNotifyActivities } from './notify/activity.ts';
import { createPromoteActivities } from './promote/activity.ts';
import { createReportActivities } from './report/activity.ts';
import { createResolveActivities } from './resolve/activity.ts';
import { createTrainActivities, createTrainLookUp } from './train/activity.ts';

export function createCpuActivities(deps: ActivityDeps) {
  return {
    ...createResolveActivities(deps),
    ...createDownloadActivities(deps),
    ...createConvertActivities(deps),
    ...createFilterActivities(deps),
    ...createTrainLookUp(deps),
    ...createEvalLookUp(deps),
    ...createPromoteActivities(deps),
    ...createReportActivities(deps),
    ...createNotifyActivities(deps),
  };
}

export function createGpuActivities(deps: GpuDeps) {
  return { ...createTrainActivities(deps), ...createEvalActivities(deps) };
}
