/** One block of an event stream. `text`: its bytes as they came, with the blank line. */
export interface ServerEvent {
  text: string;
  data?: string;
  id?: string;
  retry?: number;
}

/** The blocks of a body, also those without data (comments, `retry:`). Half a block at the end is left out. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/(?<=\r?\n\r?\n)/);
      rest = /\r?\n\r?\n$/.test(blocks.at(-1) ?? "") ? "" : (blocks.pop() ?? "");
      for (const block of blocks) yield eventIn(block);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function eventIn(text: string): ServerEvent {
  const event: ServerEvent = { text };
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (name === "id") event.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
  }
  return event;
}

/** What the stream of a turn says in one event. */
export type Chunk = { type: string; [key: string]: unknown };

export function chunkIn({ data }: ServerEvent): Chunk | null {
  if (data === undefined || data === "[DONE]") return null;
  try {
    const chunk: unknown = JSON.parse(data);
    return typeof (chunk as Chunk | null)?.type === "string" ? (chunk as Chunk) : null;
  } catch {
    return null;
  }
}
