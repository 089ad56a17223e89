/**
 * What a run tells a webhook, and how it is signed: by the Standard Webhooks specification (standardwebhooks.com), so
 * that receivers can check it with a ready library. The body is JSON {type, timestamp, data}; three headers go with it:
 *
 *     webhook-id         the delivery's id: the same however often it is tried
 *     webhook-timestamp  when this try was made, Unix seconds; receivers refuse old ones
 *     webhook-signature  "v1," and the base64 of HMAC-SHA256 over `${id}.${timestamp}.${body}`
 *
 * The key is the secret's UTF-8 bytes or, where it begins with `whsec_`, what follows that in base64.
 */
import type { RunState } from './search-attributes.ts';
import type { StageName } from './stages.ts';

export const notificationEvents = ['parked', 'failed', 'promoted', 'finished'] as const;
export type NotificationEvent = (typeof notificationEvents)[number];

/** Only these variables of a worker can sign: a spec must not make a worker use its other secrets. */
export const NOTIFY_SECRET_PREFIX = 'REVERIE_NOTIFY_';

export interface Notification {
  /** Unique among all notifications of all runs. */
  id: string;
  type: `run.${NotificationEvent}`;
  /** When it happened, ISO 8601. */
  timestamp: string;
  data: {
    workflowId: string;
    runId: string;
    state: RunState;
    stage: StageName | null;
    /** Why it waits, failed or was promoted; the report's headline of a run that finished. */
    message: string;
    /** Of a parked run: what to press, and until when it waits. */
    advice: string | null;
    until: string | null;
    /** Key in the store. */
    report: string | null;
    accuracy: { base: number | null; tuned: number | null; n: number } | null;
    attempts: number;
    gpuHours: number;
  };
}

export interface NotifyRequest {
  url: string;
  /** Name of the worker's variable that holds the secret. */
  secretVariable: string;
  notification: Notification;
}
