// The request of a message that was written before the larger half of the program is there: it goes at once, and the
// transport takes over its answer when it is.
//
// Guarantees: it is the request that the transport would make, so that the server, which knows a message by its id, takes
// it once, whichever of the two comes through. Where it fails the transport asks itself.

import type { UIMessage } from "ai";
import type { MessageOptions } from "./api.ts";

// Who names JSON is told of a refusal with its code, and not by a sentence alone.
export const VERSION = { "x-ui-message-stream-version": "7", accept: "text/event-stream, application/json" };

export const CHAT = "/api/chat";

const begun = new Map<string, Promise<Response>>();

export function beginRequest(id: string, message: UIMessage, options: MessageOptions): void {
  const body = JSON.stringify({ ...options, id, trigger: "submit-message", messages: [message] });
  const response = fetch(CHAT, { method: "POST", headers: { "content-type": "application/json", ...VERSION }, body });
  begun.set(message.id, response);
  // Told where it is taken.
  response.catch(() => {});
}

/** A fetch that answers with what was begun, once. */
export const fetchBegun: typeof fetch = (input, init) => {
  const id = init?.method === "POST" && typeof init.body === "string" && begun.size > 0 ? messageIn(init.body) : undefined;
  const response = id === undefined ? undefined : begun.get(id);
  if (id !== undefined) begun.delete(id);
  return response ?? fetch(input, init);
};

const messageIn = (body: string): string | undefined => (JSON.parse(body) as { messages?: { id: string }[] }).messages?.[0]?.id;
