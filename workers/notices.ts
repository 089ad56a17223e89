/**
 * Notices that a host is about to be taken away, from whoever gives them before SIGTERM: watched beside a GPU worker,
 * which a notice drains. Each source is asked over and over; what it says now is all that counts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { awsNotices } from './notices/aws.ts';
import { fileNotices } from './notices/file.ts';

export interface Notice {
  /** Who gave it and what it says, for people. */
  told: string;
  /** When the host goes; null where the source does not say. */
  at: Date | null;
}

export interface NoticeSource {
  everyMs: number;
  /** The notice that stands now, or null. Never throws: a source that cannot be asked has none. */
  look(signal: AbortSignal): Promise<Notice | null>;
}

export interface NoticeOptions {
  /** A file whose existence is the notice. */
  noticeFile: string | null;
  /** Base URL of the cloud's instance metadata service. */
  instanceMetadata: string | null;
}

/** What follows the trainer's end in a notice's time: the failure's way to the server, and this process's own end. */
const MARGIN_SECONDS = 5;
/** A trainer between two small steps saves even then. */
const LEAST_GRACE_SECONDS = 1;

export function noticeSources({ noticeFile, instanceMetadata }: NoticeOptions, log: Logger): NoticeSource[] {
  return [
    ...(noticeFile === null ? [] : [fileNotices(noticeFile)]),
    ...(instanceMetadata === null ? [] : [awsNotices(instanceMetadata, log)]),
  ];
}

export async function standingNotice(sources: readonly NoticeSource[], signal: AbortSignal): Promise<Notice | null> {
  const notices = await Promise.all(sources.map((source) => source.look(signal)));
  return notices.find((notice) => notice !== null) ?? null;
}

/** Resolves with the first notice that any source gives; with null once `signal` is aborted. */
export async function nextNotice(sources: readonly NoticeSource[], signal: AbortSignal): Promise<Notice | null> {
  const first = new AbortController();
  const until = AbortSignal.any([signal, first.signal]);
  let found: Notice | null = null;
  const watch = async (source: NoticeSource): Promise<void> => {
    while (!until.aborted) {
      const notice = await source.look(until);
      // The answer of a source that the first one's notice has interrupted is none: it must not take that notice's place.
      found ??= notice;
      if (found !== null) first.abort();
      await sleep(source.everyMs, null, { signal: until }).catch(() => {});
    }
  };
  await Promise.all(sources.map(watch));
  return found;
}

/**
 * Resolves once no notice stands, or `signal` is aborted. A worker that started on such a host and took work would lose
 * it at once; one that ended would be started again and again by whatever looks after it. So it waits.
 */
export async function untilNoNotice(sources: readonly NoticeSource[], signal: AbortSignal, log: Logger): Promise<void> {
  for (let told: string | null = null; ; ) {
    const notice = await standingNotice(sources, signal);
    if (notice === null || signal.aborted) return;
    if (notice.told !== told)
      log.warn({ notice: notice.told }, 'this host is to be taken away; no work until that is over');
    told = notice.told;
    const everyMs = Math.min(...sources.map((source) => source.everyMs));
    await sleep(everyMs, null, { signal }).catch(() => {});
  }
}

/** What a notice leaves the trainer for its last checkpoint: never more than `graceSeconds`. */
export function graceOf({ at }: Notice, graceSeconds: number, nowMs = Date.now()): number {
  if (at === null) return graceSeconds;
  const left = (at.getTime() - nowMs) / 1000 - MARGIN_SECONDS;
  return Math.min(graceSeconds, Math.max(left, LEAST_GRACE_SECONDS));
}
