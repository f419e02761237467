// A `fetch` for the AI SDK's default transport that does not lose an answer.
//
//     const transport = new DefaultChatTransport({ api: "/api/chat", fetch: resumingFetch() });
//
// Guarantees: the body that it answers has every event of the run once and in order, over as many connections as that
// takes, and ends only behind a terminal chunk (`finish`, `error`) or `[DONE]`. Where the server no longer has what
// comes next, the body fails with a Problem; it never ends as if the answer were whole. A message is posted again where
// no answer came, or where a server that has too much to do says how soon to come again: its id is the key under which a
// repeat is recognised. A page of HTML is nobody's answer. What else is no event stream passes through.

import { eventsOf, type ServerEvent } from "./events.ts";
import { isAbort, isNoAnswer, Problem, problemOf, retryAfterMs } from "./problem.ts";
import { backoffMs, isOffline, sleep, untilOnline } from "./waiting.ts";

export interface ResumingOptions {
  fetch?: typeof globalThis.fetch;
  /** How often a message is posted before it counts as not sent. */
  tries?: number;
  /** The server sends something, if only a comment, every ten seconds. A longer silence is a dead connection. */
  silenceMs?: number;
  /** `problem` comes with "waiting" (to post again) and "lost" (a stream, which is followed again). */
  onState?: (state: "open" | "waiting" | "lost", problem?: Problem) => void;
}

// A server that asks to be left alone for longer says no.
const SOON_MS = 30_000;
// For who shows `error.message`.
const UNREACHABLE = "The server cannot be reached.";
const GONE = "The server no longer has the rest of this answer.";
const RUN_ID = "x-workflow-run-id";
const TERMINAL = /^\{"type":\s*"(finish|error)"/;

/** Where a run is followed, from the URL that began it: `…/chat`, `…/chat/{id}/stream` or the run's own. */
export function streamUrlOf(url: string, runId: string | null): string | null {
  const [path = "", query] = url.split("?", 2);
  const own = /\/tasks\/[^/]+\/stream$/.test(path) ? path : null;
  const api = path.replace(/\/[^/]+\/stream$/, "");
  const base = own ?? (runId && `${api}/tasks/${encodeURIComponent(runId)}/stream`);
  return base && (query ? `${base}?${query}` : base);
}

export function resumingFetch(options: ResumingOptions = {}): typeof globalThis.fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const request = new Following(init ?? {}, options);
    const response = await request.begin(input);
    const follow = streamUrlOf(url, response.headers.get(RUN_ID));
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    if (!response.ok || !response.body || !isStream || !follow) return response;
    options.onState?.("open");
    const { status, headers } = response;
    return new Response(request.whole(response.body, follow), { status, headers });
  };
}

class Following {
  private readonly init: RequestInit;
  private readonly options: ResumingOptions;
  private readonly outer: AbortSignal | null;
  private cursor: string | null = null;
  private ended = false;
  private failures = 0;
  private retryMs = 500;

  constructor(init: RequestInit, options: ResumingOptions) {
    this.init = init;
    this.options = options;
    this.outer = init.signal ?? null;
  }

  /** The first answer, over several tries. A Problem where none came; a refusal is answered as it is. */
  async begin(input: RequestInfo | URL): Promise<Response> {
    const tries = this.repeatable ? (this.options.tries ?? 5) : 1;
    for (let attempt = 0; ; attempt += 1) {
      const problem = await this.once(input);
      if (problem instanceof Response) return problem;
      if (isOffline() && this.repeatable) attempt = -1;
      else if (attempt + 1 >= tries) throw problem;
      this.options.onState?.("waiting", problem);
      await untilOnline(this.outer);
      await sleep(problem.retryAfterMs + backoffMs(Math.max(attempt, 0)), this.outer);
    }
  }

  private async once(input: RequestInfo | URL): Promise<Response | Problem> {
    try {
      const response = await this.send(input, this.init);
      if (isNoAnswer(response)) return new Problem(UNREACHABLE, { code: "UNREACHABLE" });
      const asksAgain = response.status >= 500 || (response.status === 429 && retryAfterMs(response) > 0 && retryAfterMs(response) <= SOON_MS);
      return asksAgain && this.repeatable ? await problemOf(response) : response;
    } catch (error) {
      if (isAbort(error) || this.outer?.aborted) throw error;
      return new Problem(UNREACHABLE, { code: "UNREACHABLE" });
    }
  }

  /** An answer that is made again has no id under which a repeat would be recognised. */
  private get repeatable(): boolean {
    return typeof this.init.body !== "string" || !this.init.body.includes('"trigger":"regenerate-message"');
  }

  private send(input: RequestInfo | URL, init: RequestInit): Promise<Response> {
    // Called as a plain function: the browser's own refuses to be a method of something.
    const send = this.options.fetch ?? globalThis.fetch;
    return send(input, init);
  }

  whole(first: ReadableStream<Uint8Array>, url: string): ReadableStream<Uint8Array> {
    const encoder = new TextEncoder();
    const events = this.events(first, url);
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          const { value, done } = await events.next();
          if (done) controller.close();
          else controller.enqueue(encoder.encode(value.text));
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: async () => {
        await events.return(undefined);
      },
    });
  }

  private async *events(first: ReadableStream<Uint8Array>, url: string): AsyncGenerator<ServerEvent, undefined> {
    let body: ReadableStream<Uint8Array> | null = first;
    for (;;) {
      if (body) yield* this.connection(body);
      if (this.ended) return;
      this.options.onState?.("lost", new Problem(""));
      body = await this.again(url);
    }
  }

  /** The events of one connection, until it breaks or the run has ended. */
  private async *connection(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
    const events = eventsOf(body);
    try {
      for (;;) {
        const { value, done } = await this.heard(events.next());
        if (done) return;
        if (value.retry !== undefined) this.retryMs = value.retry;
        yield value;
        if (value.id) this.cursor = value.id;
        if (value.data === undefined) continue;
        this.failures = 0;
        if (value.data === "[DONE]" || TERMINAL.test(value.data)) this.ended = true;
        if (value.data === "[DONE]") return;
      }
    } catch (error) {
      if (isAbort(error) || this.outer?.aborted) throw error;
    } finally {
      events.return(undefined).catch(() => {});
    }
  }

  private heard<T>(next: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Problem("")), this.options.silenceMs ?? 25_000);
    });
    return Promise.race([next, silence]).finally(() => clearTimeout(timer));
  }

  /** Another connection behind the last event that came; null where that has to be tried again. */
  private async again(url: string): Promise<ReadableStream<Uint8Array> | null> {
    const asked = backoffMs(this.failures, this.retryMs);
    this.failures += 1;
    await untilOnline(this.outer);
    await sleep(asked, this.outer);
    const response = await this.connect(url);
    if (!response) return null;
    if (response.status === 204) throw new Problem(GONE, { status: 204, code: "STREAM_GONE" });
    if (response.ok) {
      this.options.onState?.("open");
      return response.body;
    }
    const problem = await problemOf(response);
    if (!problem.passing) throw problem;
    this.options.onState?.("lost", problem);
    await sleep(problem.retryAfterMs, this.outer);
    return null;
  }

  private async connect(url: string): Promise<Response | null> {
    const headers = new Headers(this.init.headers);
    headers.delete("content-type");
    if (this.cursor) headers.set("last-event-id", this.cursor);
    const { credentials } = this.init;
    // One that was stopped is not tried again: the next pause ends by the signal.
    const response = await this.send(url, { headers, signal: this.outer, ...(credentials && { credentials }) }).catch(() => null);
    return response && !isNoAnswer(response) ? response : null;
  }
}
