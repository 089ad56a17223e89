/** Tells a webhook what has become of the run, beside it: what does not arrive stops nothing and is noted. */
import { CancellationScope, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { NotificationEvent } from '../contracts/notification.ts';
import type { RunSpec } from '../contracts/run-spec.ts';
import type { CpuActivities } from './activity-types.ts';
import { failureOf } from './failure-of.ts';
import type { RunRecord } from './run-record.ts';

export class Notifier {
  readonly #run: RunRecord;
  readonly #spec: () => RunSpec | null;
  readonly #show: () => void;
  readonly #underWay = new Set<Promise<void>>();
  #count = 0;

  constructor(run: RunRecord, spec: () => RunSpec | null, show: () => void) {
    this.#run = run;
    this.#spec = spec;
    this.#show = show;
  }

  /** Returns at once. Without an address it does nothing at all, so that histories older than this replay. */
  tell(event: NotificationEvent, message: string): void {
    const notify: Partial<RunSpec['policy']>['notify'] = this.#spec()?.policy.notify;
    if (!notify?.url || !notify.events.includes(event)) return;
    const delivery = this.#deliver(notify, notify.url, event, message).finally(() => this.#underWay.delete(delivery));
    this.#underWay.add(delivery);
  }

  /** A closed workflow delivers nothing more, so its end waits: no longer than policy.notify.giveUpSeconds. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #deliver(
    { secretVariable, giveUpSeconds }: RunSpec['policy']['notify'],
    url: string,
    event: NotificationEvent,
    message: string,
  ): Promise<void> {
    const { workflowId, runId } = workflowInfo();
    const { state, stage, parked, report, accuracy, attempts, gpuHours } = this.#run.status();
    const { notify } = proxyActivities<Pick<CpuActivities, 'notify'>>({
      startToCloseTimeout: '10 seconds',
      scheduleToCloseTimeout: giveUpSeconds * 1000,
      retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
      summary: `Tell the webhook that the run is ${event}`,
    });
    const timestamp = new Date().toISOString();
    const id = `${runId}-${++this.#count}`;
    const data = {
      ...{ workflowId, runId, state, stage: parked?.stage ?? stage, message: message.slice(0, 2000) },
      ...{ advice: parked?.advice ?? null, until: parked?.until ?? null },
      ...{ report, accuracy, attempts, gpuHours },
    };
    const request = { url, secretVariable, notification: { id, type: `run.${event}` as const, timestamp, data } };
    try {
      // Whoever gives the run up wants its last word all the more.
      await CancellationScope.nonCancellable(() => notify(request));
    } catch (error) {
      const said = `That the run is ${event} was not delivered within ${giveUpSeconds} s: ${failureOf(error).message}`;
      const at = new Date().toISOString();
      this.#run.notice(stage ?? 'report', { type: 'NotificationGivenUp', message: said, at });
      this.#show();
    }
  }
}
