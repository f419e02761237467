// Waiting between tries: capped, with full jitter, so that many pages do not come back at the same moment.

const CAP_MS = 15_000;

export function backoffMs(attempt: number, baseMs = 500): number {
  return Math.random() * Math.min(CAP_MS, baseMs * 2 ** Math.min(attempt, 10));
}

export const isOffline = (): boolean => globalThis.navigator?.onLine === false;

/** Wait so long, or until the machine is online again. Rejects with the signal's reason when it aborts. */
export function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", wake);
      signal?.removeEventListener("abort", abort);
      settle();
    };
    const wake = () => end(resolve);
    const abort = () => end(() => reject(signal?.reason));
    const timer = setTimeout(wake, ms);
    if (signal?.aborted) return abort();
    globalThis.addEventListener?.("online", wake);
    signal?.addEventListener("abort", abort);
  });
}

/** What waits to be tried again need not wait any longer. */
export const tryNow = (): void => void globalThis.dispatchEvent(new Event("online"));

/** Wait until the machine says that it has a network. */
export async function untilOnline(signal?: AbortSignal | null): Promise<void> {
  while (isOffline()) await sleep(CAP_MS, signal);
}
