/** The first activity of a run: what to run, from where, for good. */
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { withHeartbeat } from '../stage.ts';
import { type Resolved, resolveRun } from './resolve.ts';

export function createResolveActivities(deps: ActivityDeps) {
  return asActivities({
    resolve: ({ spec }: { spec: unknown }): Promise<Resolved> =>
      withHeartbeat(({ transfer }) => resolveRun(spec, deps, transfer)),
  });
}
