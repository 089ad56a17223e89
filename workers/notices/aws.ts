/**
 * Notices of AWS's spot instances, from the instance metadata service, version 2: a session token first, then
 * `spot/instance-action`, which is 404 until two minutes before the host goes.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 */
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Notice, NoticeSource } from '../notices.ts';

const EVERY_MS = 5000;
const ANSWER_MS = 1000;
const TRIES_AT_START = 2;
const TOKEN_SECONDS = 21_600;
const INSTANCE_ACTION = '/latest/meta-data/spot/instance-action';
const REBALANCE = '/latest/meta-data/events/recommendations/rebalance';

const actionSchema = z.object({ action: z.string(), time: z.iso.datetime({ offset: true }) });

/** Null where nothing answers at `endpoint`: then this is no such host. */
export async function awsNotices(endpoint: string, log: Logger): Promise<NoticeSource | null> {
  const service = new MetadataService(endpoint);
  for (let tries = 1; ; tries++) {
    try {
      await service.start();
      break;
    } catch (err) {
      if (tries < TRIES_AT_START) continue;
      log.debug({ endpoint, err }, 'no instance metadata service; no notices from it');
      return null;
    }
  }
  let isSilent = false;
  let rebalance: string | null = null;
  return {
    everyMs: EVERY_MS,
    look: async (signal) => {
      try {
        const recommended = await service.get(REBALANCE, signal);
        // A hint that may come hours ahead, or with no interruption to follow: for people.
        if (recommended !== null && recommended !== rebalance)
          log.info({ recommended }, 'the cloud recommends to leave this host; training goes on');
        rebalance = recommended;
        const action = await service.get(INSTANCE_ACTION, signal);
        isSilent = false;
        return action === null ? null : noticeOf(action);
      } catch (err) {
        if (!isSilent && !signal.aborted) log.warn({ endpoint, err }, 'the instance metadata service does not answer');
        isSilent = true;
        return null;
      }
    },
  };
}

/** A document that cannot be read is a notice all the same: it is there. */
function noticeOf(text: string): Notice {
  const told = `AWS: ${text.trim()}`;
  try {
    return { told, at: new Date(actionSchema.parse(JSON.parse(text)).time) };
  } catch {
    return { told, at: null };
  }
}

class MetadataService {
  readonly #endpoint: string;
  #token = '';

  constructor(endpoint: string) {
    this.#endpoint = endpoint;
  }

  async start(signal?: AbortSignal): Promise<void> {
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS) };
    const response = await this.#request('/latest/api/token', { method: 'PUT', headers }, signal);
    const text = await response.text();
    if (!response.ok) throw new Error(`PUT /latest/api/token answered ${response.status}; expected a token`);
    this.#token = text;
  }

  /** The text at `path`; null where there is none. A token that has run out is renewed. */
  async get(path: string, signal: AbortSignal): Promise<string | null> {
    const ask = () => this.#request(path, { headers: { 'X-aws-ec2-metadata-token': this.#token } }, signal);
    let response = await ask();
    if (response.status === 401) {
      await response.text();
      await this.start(signal);
      response = await ask();
    }
    const text = await response.text();
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}; expected 200 or 404`);
    return text;
  }

  #request(path: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    const signals = [AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])];
    return fetch(new URL(path, this.#endpoint), { ...init, signal: AbortSignal.any(signals) });
  }
}
