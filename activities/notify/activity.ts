/** The activity `notify`: one try at a webhook. Temporal tries again, so it arrives at least once, under one id. */
import { ApplicationFailure } from '@temporalio/common';
import type { NotifyRequest } from '../../contracts/notification.ts';
import type { ActivityDeps } from '../deps.ts';
import { asActivities } from '../failure.ts';
import { deliver } from './deliver.ts';

export function createNotifyActivities({ notifySecrets = {} }: Pick<ActivityDeps, 'notifySecrets'>) {
  return asActivities({
    async notify({ url, secretVariable, notification }: NotifyRequest): Promise<void> {
      const secret = notifySecrets[secretVariable];
      if (!secret) {
        // Tried again like a receiver that is down: another worker may have it.
        throw ApplicationFailure.retryable(
          `The variable ${secretVariable} is empty on this worker; expected the secret that signs notifications; set it on every CPU worker, or name another in policy.notify.secretVariable.`,
        );
      }
      await deliver({ url, secret, notification });
    },
  });
}
