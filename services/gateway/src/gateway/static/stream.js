// Follows one task to its end, over as many connections as it takes.
//
// Guarantees: each chunk is handed on once and in order. A connection that breaks is followed by another one that goes
// on after the last chunk. Where the server no longer has what comes next, `onRestart` is called and everything comes
// again from the beginning. It returns only when the stream has said its end, or when nothing is left to follow.

import { Problem, connect, problemOf } from "./api.js";
import { backoffMs, sleep } from "./retry.js";

// The server sends something, if only a comment, every ten seconds. A connection silent for longer is a dead one.
const SILENCE_MS = 25_000;

/** Events as `{id, data}` out of the bytes of a response; comments and `retry:` come as events without data. */
export async function* events(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const text = line.endsWith("\r") ? line.slice(0, -1) : line;
        if (text === "") {
          yield event;
          event = {};
        } else {
          readField(event, text);
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function readField(event, line) {
  const colon = line.indexOf(":");
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  else if (name === "id") event.id = value;
  else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
}

/**
 * `onChunk(chunk)`, `onRestart()`, `onState("connecting" | "open" | "lost", problem?)`.
 * Answers "ended" after the last chunk, "gone" where there is nothing (left) to follow.
 * Throws a Problem that no waiting mends, and AbortError when `signal` aborts.
 */
export async function follow(url, { onChunk, onRestart, onState, signal }) {
  const follower = new Follower(url, { onChunk, onRestart, onState, signal });
  for (;;) {
    const outcome = await follower.connection();
    if (outcome !== "lost") return outcome;
    await follower.pause();
  }
}

class Follower {
  constructor(url, { onChunk, onRestart, onState, signal }) {
    this.url = new URL(url, location.href);
    this.url.searchParams.set("protocol", "7");
    Object.assign(this, { onChunk, onRestart, onState, signal });
    this.cursor = null;
    this.failures = 0;
    this.retryMs = 500;
    this.retryAfterMs = 0;
  }

  async pause() {
    const ms = this.retryAfterMs + backoffMs(this.failures, this.retryMs);
    this.failures += 1;
    this.retryAfterMs = 0;
    await sleep(ms, this.signal);
  }

  /** One connection: "ended", "gone", or "lost" when another one has to follow. */
  async connection() {
    const silence = new Silence(this.signal);
    try {
      this.onState("connecting");
      const response = await connect(this.url, { headers: this.headers(), signal: silence.signal, cache: "no-store" });
      if (response.status !== 200) return await this.refused(response);
      this.onState("open");
      return await this.read(response, silence);
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      if (error instanceof Problem && !error.passing) throw error;
      return this.lost(error);
    } finally {
      silence.end();
    }
  }

  headers() {
    return { accept: "text/event-stream", ...(this.cursor && { "last-event-id": this.cursor }) };
  }

  async refused(response) {
    if (response.status === 204) return "gone";
    const problem = await problemOf(response);
    if (problem.code === "STREAM_TRUNCATED") {
      this.cursor = null;
      this.onRestart();
      return this.lost(problem);
    }
    if (problem.code === "TASK_EXPIRED" || problem.code === "TASK_NOT_FOUND") return "gone";
    if (!problem.passing) throw problem;
    return this.lost(problem);
  }

  lost(error) {
    this.retryAfterMs = error.retryAfterMs ?? 0;
    this.onState("lost", error);
    return "lost";
  }

  async read(response, silence) {
    for await (const { id, data, retry } of events(response.body)) {
      silence.heard();
      if (retry !== undefined) this.retryMs = retry;
      if (data === "[DONE]") return "ended";
      if (data !== undefined) this.take(data);
      if (id) this.cursor = id;
    }
    // An end without [DONE] is a broken connection, whatever it looks like.
    return this.lost(new Problem("The connection was lost."));
  }

  take(data) {
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      console.warn("An event of the stream is not JSON; it is left out.");
      return;
    }
    this.onChunk(chunk);
    this.failures = 0;
  }
}

/** Aborts a connection that has been silent for too long, or whose follower was aborted. */
class Silence {
  constructor(outer) {
    this.controller = new AbortController();
    this.outer = outer;
    this.abort = () => this.controller.abort(outer.reason);
    outer.addEventListener("abort", this.abort);
    if (outer.aborted) this.abort();
    this.heard();
  }

  get signal() {
    return this.controller.signal;
  }

  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(new Problem("The connection was silent.")), SILENCE_MS);
  }

  end() {
    clearTimeout(this.timer);
    this.outer.removeEventListener("abort", this.abort);
  }
}
