// Waiting between tries: capped, with full jitter, so that many pages do not come back at the same moment.

const CAP_MS = 15_000;

export function backoffMs(attempt, baseMs = 500) {
  return Math.random() * Math.min(CAP_MS, baseMs * 2 ** Math.min(attempt, 10));
}

/** Wait so long, or until the machine is online again. Throws AbortError when `signal` aborts. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = (settle) => {
      clearTimeout(timer);
      window.removeEventListener("online", wake);
      signal.removeEventListener("abort", abort);
      settle();
    };
    const wake = () => end(resolve);
    const abort = () => end(() => reject(signal.reason));
    const timer = setTimeout(wake, ms);
    if (signal.aborted) return abort();
    window.addEventListener("online", wake);
    signal.addEventListener("abort", abort);
  });
}

/** Call `action` until it succeeds or fails for good. `onWait(problem)` is called before each wait. */
export async function persist(action, { signal, onWait, tries = Infinity }) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await action();
    } catch (problem) {
      if (!problem.passing || attempt + 1 >= tries) throw problem;
      onWait(problem);
      await sleep((problem.retryAfterMs ?? 0) + backoffMs(attempt), signal);
    }
  }
}
