// What becomes of a person's sessions, on whatever tab or device: `GET /api/chat/events`.
//
// One tab of a browser follows and tells the others, as a browser opens few connections to a server: who holds the lock.
// When that tab goes, another goes on behind the last event that was heard. One that is looked at takes over from one that
// says nothing: browsers put tabs to sleep that are out of sight, and some with the lock in their hands. Where a browser has
// no locks (a page without https), each tab follows for itself.

import { eventsOf } from "./events.ts";
import { isAbort, Problem, problemOf } from "./problem.ts";
import { noteTime } from "./serverClock.ts";
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
const LOOK_MS = 5_000;
// A server that does not have the route, or somebody who may not follow: perhaps another one, later.
const REFUSED_MS = 60_000;

/** Tell each event to `hear`, until the signal aborts. What was before `ready` with `resumed: false` has to be read. */
export function followPerson(hear: (event: PersonEvent) => void, signal: AbortSignal): void {
  const others = new BroadcastChannel(NAME);
  let cursor: string | null = null;
  let heardAt = performance.now();
  const take = ({ id, event }: Told) => {
    cursor = id ?? cursor;
    hear(event);
  };
  const tell = (told: Told) => {
    take(told);
    others.postMessage(told);
  };
  // Also where there is nothing to tell.
  const isAwake = () => others.postMessage(null);
  others.onmessage = ({ data }: MessageEvent<Told | null>) => {
    heardAt = performance.now();
    if (data) take(data);
  };
  signal.addEventListener("abort", () => others.close());
  const lead = (leaving: AbortSignal) => follow(() => cursor, tell, isAwake, leaving).finally(() => (heardAt = performance.now()));
  const isSilent = () => document.visibilityState === "visible" && performance.now() - heardAt > SILENCE_MS;
  const leading = navigator.locks ? takeTurns({ lead, isAwake, isSilent }, signal) : lead(signal);
  leading.catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

interface Tab {
  lead: (leaving: AbortSignal) => Promise<void>;
  isAwake: () => void;
  /** The one that leads is asleep, and this one is looked at. */
  isSilent: () => boolean;
}

/** Wait for the lock and lead, again and again: another tab may take it. */
async function takeTurns({ lead, isAwake, isSilent }: Tab, signal: AbortSignal): Promise<void> {
  for (let steal = false; !signal.aborted; ) {
    const [waiting, leading] = [new AbortController(), new AbortController()];
    let look = () => isSilent() && waiting.abort();
    const looking = setInterval(() => look(), LOOK_MS);
    const led = () => {
      look = isAwake;
      return lead(AbortSignal.any([signal, leading.signal]));
    };
    try {
      await navigator.locks.request(NAME, steal ? { steal } : { signal: AbortSignal.any([signal, waiting.signal]) }, led);
    } catch (error) {
      if (!isAbort(error)) throw error;
    } finally {
      clearInterval(looking);
      leading.abort();
    }
    steal = waiting.signal.aborted;
  }
}

async function follow(cursor: () => string | null, tell: (told: Told) => void, isAwake: () => void, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      for await (const told of connection(cursor(), isAwake, signal)) {
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
async function* connection(cursor: string | null, isAwake: () => void, outer: AbortSignal): AsyncGenerator<Told> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const signal = AbortSignal.any([outer, silence.signal]);
  try {
    const response = await fetch(URL, { headers: cursor ? { "last-event-id": cursor } : {}, cache: "no-store", signal });
    noteTime(response);
    if (!response.ok || !response.body) throw await problemOf(response);
    const alive = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        isAwake();
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
