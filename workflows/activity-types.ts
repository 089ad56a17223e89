/** The activities as a workflow sees them: types only, so that no activity code enters the workflow bundle. */
import type { createCpuActivities, createGpuActivities } from '../activities/activities.ts';

export type CpuActivities = ReturnType<typeof createCpuActivities>;
export type GpuActivities = ReturnType<typeof createGpuActivities>;
