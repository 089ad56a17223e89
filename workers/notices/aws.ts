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
/** More than one, and apart: a worker that is starting may itself be too busy to hear an answer in time. */
const TRIES = 3;
const TOKEN_SECONDS = 21_600;
const INSTANCE_ACTION = '/latest/meta-data/spot/instance-action';
const REBALANCE = '/latest/meta-data/events/recommendations/rebalance';

const actionSchema = z.object({ action: z.string(), time: z.iso.datetime({ offset: true }) });

/** Gives up for good, without a word to most, where nothing has ever answered: then this is no such host. */
export function awsNotices(endpoint: string, log: Logger): NoticeSource {
  const service = new MetadataService(endpoint);
  let hasAnswered = false;
  let failures = 0;
  let rebalance: string | null = null;
  return {
    everyMs: EVERY_MS,
    look: async (signal) => {
      if (!hasAnswered && failures === TRIES) return null;
      try {
        const recommended = await service.get(REBALANCE, signal);
        // A hint that may come hours ahead, or with no interruption to follow: for people.
        if (recommended !== null && recommended !== rebalance)
          log.info({ recommended }, 'the cloud recommends to leave this host; training goes on');
        rebalance = recommended;
        const action = await service.get(INSTANCE_ACTION, signal);
        hasAnswered = true;
        failures = 0;
        return action === null ? null : noticeOf(action);
      } catch (err) {
        if (signal.aborted) return null;
        failures += 1;
        if (hasAnswered && failures === 1) log.warn({ endpoint, err }, 'the instance metadata service does not answer');
        else if (!hasAnswered && failures === TRIES)
          log.debug({ endpoint, err }, 'no instance metadata service; no notices from it');
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
  #token: string | null = null;

  constructor(endpoint: string) {
    this.#endpoint = endpoint;
  }

  async #newToken(signal: AbortSignal): Promise<string> {
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS) };
    const response = await this.#request('/latest/api/token', { method: 'PUT', headers }, signal);
    const text = await response.text();
    if (!response.ok) throw new Error(`PUT /latest/api/token answered ${response.status}; expected a token`);
    return text;
  }

  /** The text at `path`; null where there is none. A token that has run out is renewed. */
  async get(path: string, signal: AbortSignal): Promise<string | null> {
    for (let isRenewed = false; ; isRenewed = true) {
      this.#token ??= await this.#newToken(signal);
      const response = await this.#request(path, { headers: { 'X-aws-ec2-metadata-token': this.#token } }, signal);
      const text = await response.text();
      if (response.status === 404) return null;
      if (response.ok) return text;
      if (response.status !== 401 || isRenewed)
        throw new Error(`GET ${path} answered ${response.status}; expected 200 or 404`);
      this.#token = null;
    }
  }

  #request(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const soon = AbortSignal.any([AbortSignal.timeout(ANSWER_MS), signal]);
    return fetch(new URL(path, this.#endpoint), { ...init, signal: soon });
  }
}
