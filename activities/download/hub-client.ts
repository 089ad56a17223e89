/** Requests to the Hugging Face Hub about one repository: authorised, tried again, and failing in words. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ReverieFailure } from '../../contracts/failures.ts';
import type { SourceKind } from './source.ts';
import { refuse } from './source-tree.ts';

export interface HubAccess {
  endpoint: string;
  token: string | null;
}

export interface RequestOptions {
  method?: 'GET' | 'HEAD';
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Tries before the Hub counts as unreachable; few, since the workflow tries the whole activity again later. */
  attempts?: number;
}

const RETRIED_STATUS = new Set([408, 429, 500, 502, 503, 504]);
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 15_000;
const HEADERS_TIMEOUT_MS = 15_000;

/** Doubles from the first delay up to a ceiling. */
export const backOffMs = (failures: number): number => Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));

export class HubClient {
  readonly kind: SourceKind;
  readonly name: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly #token: string | null;

  constructor(kind: SourceKind, name: string, revision: string, access: HubAccess) {
    this.kind = kind;
    this.name = name;
    this.revision = revision;
    this.endpoint = access.endpoint.replace(/\/+$/, '');
    this.#token = access.token;
  }

  get label(): string {
    return `${this.kind} hf://${this.name}@${this.revision}`;
  }

  fileUrl(commit: string, path: string): string {
    const folder = this.kind === 'dataset' ? 'datasets/' : '';
    return `${this.endpoint}/${folder}${this.name}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Resolves with an answer of 2xx (body unread). Throws for bad input at once, StoreUnavailable after `attempts`. */
  async request(url: string, options: RequestOptions = {}): Promise<Response> {
    const { attempts = 4, signal } = options;
    for (let failures = 1; ; failures += 1) {
      signal?.throwIfAborted();
      const answer = await this.#fetchOnce(url, options).catch((error: Error) => error);
      signal?.throwIfAborted();
      if (answer instanceof Response) {
        if (answer.ok) return answer;
        if (!RETRIED_STATUS.has(answer.status)) throw await this.#refusal(answer, url);
        await answer.body?.cancel();
      }
      if (failures >= attempts) throw this.unavailable(url, failures, reason(answer));
      const askedMs = answer instanceof Response ? Number(answer.headers.get('Retry-After')) * 1000 : 0;
      await sleep(Math.min(MAX_DELAY_MS, Math.max(backOffMs(failures), askedMs || 0)), undefined, {
        ...(signal && { signal }),
      });
    }
  }

  unavailable(url: string, attempts: number, why: string): ReverieFailure<'StoreUnavailable'> {
    return new ReverieFailure(
      'StoreUnavailable',
      `The Hub at ${this.endpoint} did not serve ${this.label} (${why}, ${attempts} ${attempts === 1 ? 'try' : 'tries'}); expected an answer to ${new URL(url).pathname}; check the worker's network and HF_ENDPOINT. It is tried again, from the bytes already here.`,
      { operation: `download ${this.label}` },
    );
  }

  async #fetchOnce(url: string, { method = 'GET', headers, signal }: RequestOptions): Promise<Response> {
    const silence = new AbortController();
    const timer = setTimeout(
      () => silence.abort(new Error(`no answer within ${HEADERS_TIMEOUT_MS / 1000} s`)),
      HEADERS_TIMEOUT_MS,
    );
    try {
      return await fetch(url, {
        method,
        signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
        headers: {
          // The bytes as they are: a compressed answer cannot be continued at an offset.
          'Accept-Encoding': 'identity',
          // Only the Hub itself may see the token: listings name their next page by a URL of the server's choice.
          ...(this.#token && new URL(url).origin === new URL(this.endpoint).origin
            ? { Authorization: `Bearer ${this.#token}` }
            : {}),
          ...headers,
        },
      });
    } finally {
      clearTimeout(timer);
    }
  }

  async #refusal(response: Response, url: string): Promise<ReverieFailure> {
    await response.body?.cancel();
    const { status } = response;
    const code = response.headers.get('X-Error-Code');
    const detail = response.headers.get('X-Error-Message');
    const page = `${this.endpoint}/${this.kind === 'dataset' ? 'datasets/' : ''}${this.name}`;
    const subject = this.label[0]?.toUpperCase() + this.label.slice(1);
    if (detail?.startsWith('Invalid credentials')) {
      return refuse(
        this.kind,
        `${subject} cannot be read: the Hub does not know the token in HF_TOKEN (HTTP ${status}); expected a valid token; renew it, or unset it for public repositories, and restart the worker.`,
      );
    }
    if (code === 'GatedRepo' || status === 403) {
      return refuse(
        this.kind,
        `${subject} is gated and ${this.#token ? 'the account of HF_TOKEN has no access to it' : 'HF_TOKEN is not set'} (HTTP ${status}); expected the token of an account that accepted its terms; accept them at ${page}, and start the worker with that HF_TOKEN.`,
      );
    }
    if (code === 'RevisionNotFound') {
      return refuse(
        this.kind,
        `${subject} has no revision ${JSON.stringify(this.revision)}; expected a branch, a tag or a commit of the repository; correct ${this.kind}.revision (branches are listed at ${page}).`,
      );
    }
    if (code === 'EntryNotFound') {
      return refuse(
        this.kind,
        `${subject} lacks ${new URL(url).pathname.split('/resolve/').at(-1)}; expected the file that its list names; start the run again.`,
      );
    }
    if (status === 401 || status === 404) {
      return refuse(
        this.kind,
        `${subject} is not on ${this.endpoint}, or it is private (HTTP ${status}); expected a ${this.kind} that ${this.#token ? 'the account of HF_TOKEN' : 'everyone'} can read; check the spelling of ${this.kind}.source, or set HF_TOKEN for the worker.`,
      );
    }
    return refuse(
      this.kind,
      `${subject} was refused by ${this.endpoint} with HTTP ${status}${detail ? ` (${detail})` : ''}; expected 200; check ${this.kind}.source, HF_ENDPOINT and HF_TOKEN.`,
    );
  }
}

function reason(answer: Response | Error): string {
  if (answer instanceof Response) return `HTTP ${answer.status}`;
  const cause = answer.cause as NodeJS.ErrnoException | undefined;
  return cause?.code ?? cause?.message ?? answer.message;
}
