// The request of a message that was written before the larger half of the program is there: it goes at once, the text of
// its answer is told as it comes, and the transport takes over when it is there.
//
// Guarantees: it is the request that the transport would make, so that the server, which knows a message by its id, takes
// it once, whichever of the two comes through. Where it fails the transport asks itself. The transport is given all of
// the answer, from its first byte on.

import type { UIMessage } from "ai";
import type { MessageOptions } from "./api.ts";
import { chunkIn, eventsOf } from "./events.ts";

// Who names JSON is told of a refusal with its code, and not by a sentence alone.
export const VERSION = { "x-ui-message-stream-version": "7", accept: "text/event-stream, application/json" };

export const CHAT = "/api/chat";

const begun = new Map<string, Promise<Response>>();

/** `onText`: what is read of the answer, until the transport takes it over. */
export function beginRequest(id: string, message: UIMessage, options: MessageOptions, onText: (text: string) => void): void {
  const body = JSON.stringify({ ...options, id, trigger: "submit-message", messages: [message] });
  const asked = fetch(CHAT, { method: "POST", headers: { "content-type": "application/json", ...VERSION }, body });
  const response = asked.then((answer) => overheard(answer, message.id, onText));
  begun.set(message.id, response);
  // Told where it is taken.
  response.catch(() => {});
}

function overheard(answer: Response, messageId: string, onText: (text: string) => void): Response {
  if (!answer.ok || !answer.body) return answer;
  const [whole, heard] = answer.body.tee();
  // That it breaks off is told where the whole is read.
  tellText(heard, messageId, onText).catch(() => {});
  return new Response(whole, answer);
}

async function tellText(body: ReadableStream<Uint8Array>, messageId: string, onText: (text: string) => void): Promise<void> {
  let text = "";
  for await (const event of eventsOf(body)) {
    if (!begun.has(messageId)) return;
    const chunk = chunkIn(event);
    if (chunk?.type === "text-delta") text += chunk.delta;
    else if (chunk?.type === "reset-step") text = "";
    else continue;
    onText(text);
  }
}

/** A fetch that answers with what was begun, once. */
export const fetchBegun: typeof fetch = (input, init) => {
  const id = init?.method === "POST" && typeof init.body === "string" && begun.size > 0 ? messageIn(init.body) : undefined;
  const response = id === undefined ? undefined : begun.get(id);
  if (id !== undefined) begun.delete(id);
  return response ?? fetch(input, init);
};

const messageIn = (body: string): string | undefined => (JSON.parse(body) as { messages?: { id: string }[] }).messages?.[0]?.id;
