// How `useChat` reaches the gateway: the SDK's own transport over a fetch that resumes.
//
// The server's history is the truth, so that only the newest message is posted. A turn is followed by its task's id:
// never another turn than the one that the page has just read about.

import { HttpChatTransport, type UIMessage, type UIMessageChunk } from "ai";
import { chunksOf, type Chunk } from "./chunks.ts";
import { CHAT, fetchBegun, VERSION } from "./firstRequest.ts";
import { Problem, problemOf } from "./problem.ts";
import { resumingFetch } from "./resumingFetch.ts";

export interface Listener {
  /** The server has taken the message, and this task answers it. */
  onAccepted(taskId: string | null): void;
  onChunk(chunk: Chunk): void;
  onState(state: "open" | "waiting" | "lost", problem?: Problem): void;
  /** The message that a stream goes on with, as it was before. */
  before(): UIMessage | undefined;
}

export class PageTransport extends HttpChatTransport<UIMessage> {
  /** Set before a turn is resumed. */
  streamUrl = "";
  private readonly listener: Listener;

  constructor(listener: Listener) {
    const whole = resumingFetch({ fetch: fetchBegun, onState: (state, problem) => listener.onState(state, problem) });
    super({
      api: CHAT,
      headers: VERSION,
      fetch: (input, init) => accepted(whole, listener, input, init),
      prepareSendMessagesRequest: ({ id, messages, trigger, messageId, body }) => ({
        body: { ...body, id, trigger, messages: trigger === "submit-message" ? messages.slice(-1) : [], ...(messageId && { messageId }) },
      }),
      prepareReconnectToStreamRequest: () => ({ api: this.streamUrl }),
    });
    this.listener = listener;
  }

  protected override processResponseStream(stream: ReadableStream<Uint8Array>): ReadableStream<UIMessageChunk> {
    return chunksOf(stream, this.listener.before(), (chunk) => this.listener.onChunk(chunk));
  }
}

/** A refusal becomes a Problem, which says more than the SDK's error. */
async function accepted(
  fetch: typeof globalThis.fetch,
  listener: Listener,
  input: RequestInfo | URL,
  init?: RequestInit,
): Promise<Response> {
  const response = await fetch(input, init);
  if (!response.ok) throw await problemOf(response);
  if (init?.method === "POST") listener.onAccepted(response.headers.get("x-workflow-run-id"));
  return response;
}
