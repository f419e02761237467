// What becomes of a person's sessions, on whatever tab or device: `GET /api/chat/events`.
//
// One tab of a browser follows and tells the others, as a browser opens few connections to a server: who holds the lock.
// When that tab goes, another goes on behind the last event that was heard. Where a browser has no locks (a page without
// https), each tab follows for itself.

import { eventsOf } from "./events.ts";
import { isAbort, Problem, problemOf } from "./problem.ts";
import { backoffMs, sleep, untilOnline } from "./waiting.ts";

export type PersonEvent =
  | { type: "ready"; resumed: boolean }
  | { type: "session-created"; session_id: string; title?: string }
  | { type: "session-renamed"; session_id: string; title: string }
  | { type: "session-pinned"; session_id: string; pinned: boolean }
  | { type: "session-archived"; session_id: string; archived: boolean }
  | { type: "session-changed"; session_id: string }
  | { type: "session-deleted"; session_id: string }
  | { type: "turn-started"; session_id: string; task_id: string; message_id: string }
  | { type: "turn-ended"; session_id: string; task_id: string; status: string }
  | { type: "turn-needs-you"; session_id: string; task_id: string };

interface Told {
  id: string | null;
  event: PersonEvent;
}

const URL = "/api/chat/events";
const NAME = "sluiceway.person-events";
// The server sends something, if only a comment, every ten seconds.
const SILENCE_MS = 25_000;
// A server that does not have the route, or somebody who may not follow: perhaps another one, later.
const REFUSED_MS = 60_000;

/** Tell each event to `hear`, until the signal aborts. What was before `ready` with `resumed: false` has to be read. */
export function followPerson(hear: (event: PersonEvent) => void, signal: AbortSignal): void {
  const others = new BroadcastChannel(NAME);
  let cursor: string | null = null;
  const take = ({ id, event }: Told) => {
    cursor = id ?? cursor;
    hear(event);
  };
  const tell = (told: Told) => {
    take(told);
    others.postMessage(told);
  };
  others.onmessage = ({ data }: MessageEvent<Told>) => take(data);
  signal.addEventListener("abort", () => others.close());
  const lead = () => follow(() => cursor, tell, signal);
  const leading = navigator.locks ? navigator.locks.request(NAME, { signal }, lead) : lead();
  leading.catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

async function follow(cursor: () => string | null, tell: (told: Told) => void, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      for await (const told of connection(cursor(), signal)) {
        failures = 0;
        tell(told);
      }
      await sleep(backoffMs(failures + 1), signal);
    } catch (error) {
      if (signal.aborted) return;
      const refused = error instanceof Problem && !error.passing;
      await sleep(refused ? REFUSED_MS : (error instanceof Problem ? error.retryAfterMs : 0) + backoffMs(failures + 1), signal);
    }
    await untilOnline(signal);
  }
}

/** The events of one connection, until it breaks or is silent for too long. */
async function* connection(cursor: string | null, outer: AbortSignal): AsyncGenerator<Told> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const signal = AbortSignal.any([outer, silence.signal]);
  try {
    const response = await fetch(URL, { headers: cursor ? { "last-event-id": cursor } : {}, cache: "no-store", signal });
    if (!response.ok || !response.body) throw await problemOf(response);
    const alive = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        controller.enqueue(bytes);
      },
    });
    for await (const { id, data } of eventsOf(response.body.pipeThrough(alive))) {
      if (data !== undefined) yield { id: id ?? null, event: JSON.parse(data) as PersonEvent };
    }
  } catch (error) {
    if (outer.aborted || error instanceof Problem) throw error;
    // A connection that broke, or was silent: another one is made.
    if (!isAbort(error) && !(error instanceof TypeError)) throw error;
  } finally {
    clearTimeout(timer);
  }
}
