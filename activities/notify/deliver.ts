/** One try at delivering a notification; what it says and how it is signed is in contracts/notification.ts. */
import { createHmac } from 'node:crypto';
import type { Notification } from '../../contracts/notification.ts';

export interface Delivery {
  url: string;
  secret: string;
  notification: Notification;
  timeoutMs?: number;
}

const TIMEOUT_MS = 5000;

/** Throws where no 2xx came in time. Messages name the host alone: the rest of such an address can be a secret. */
export async function deliver({ url, secret, notification, timeoutMs = TIMEOUT_MS }: Delivery): Promise<void> {
  const body = JSON.stringify(notification);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const { host } = new URL(url);
  const headers = {
    'content-type': 'application/json',
    'webhook-id': notification.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature(secret, notification.id, timestamp, body),
  };
  const signal = AbortSignal.timeout(timeoutMs);
  let status: number;
  try {
    const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal });
    // Nothing in the answer matters, however long it is.
    await response.body?.cancel();
    ({ status } = response);
  } catch (error) {
    const { cause } = error as Error & { cause?: { code?: string } };
    const came = signal.aborted
      ? `gave no answer within ${timeoutMs} ms`
      : `cannot be reached (${cause?.code ?? (error as Error).message})`;
    throw new Error(`The webhook at ${host} ${came}; expected a 2xx; look whether the receiver is up.`);
  }
  if (status < 200 || status > 299)
    throw new Error(
      `The webhook at ${host} answered ${status}; expected a 2xx; look at the receiver, its address and its secret.`,
    );
}

export function signature(secret: string, id: string, timestamp: string, body: string): string {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : secret;
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}
