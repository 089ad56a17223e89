/** Aborted `seconds` after `signal` is, asked at that moment: what is under way then may still end well. */
export function giveUpAfter(signal: AbortSignal, seconds: () => number): AbortSignal {
  const late = new AbortController();
  const wait = (): void => void setTimeout(() => late.abort(signal.reason), seconds() * 1000).unref();
  signal.addEventListener('abort', wait, { once: true });
  return late.signal;
}
