// From the bytes of a stream to chunks that `useChat` can take, whatever a newer server may say.
//
// A chunk of an unknown type, or one whose beginning is missing, is left out: the SDK ends the whole chat over one.
// Deltas that come within one frame are joined, so that the work per frame does not grow with the number of chunks.

import type { UIMessage, UIMessageChunk } from "ai";
import { chunkIn, eventsOf, type Chunk } from "./events.ts";

export type { Chunk };

const FRAME_MS = 32;
const KNOWN = new Set([
  "start", "start-step", "reset-step", "finish-step", "text-start", "text-delta", "text-end", "reasoning-start",
  "reasoning-delta", "reasoning-end", "tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error",
  "tool-approval-request", "tool-output-available", "tool-output-error", "tool-output-denied", "source-url",
  "source-document", "file", "message-metadata", "finish", "abort", "error",
]);
const OPENS_CALL = new Set(["tool-input-start", "tool-input-available", "tool-input-error"]);

/** What has begun in a message, so that nothing is passed on that belongs to nothing. */
export class Begun {
  private readonly open = new Set<string>();
  private readonly calls = new Set<string>();
  /** Calls whose beginning is streaming: a delta of another one is an orphan. */
  private readonly writing = new Set<string>();

  constructor(before: UIMessage | undefined) {
    for (const part of before?.parts ?? []) if ("toolCallId" in part) this.calls.add(part.toolCallId);
  }

  fits(chunk: Chunk): boolean {
    const { type } = chunk;
    if (!KNOWN.has(type)) return type.startsWith("data-");
    const stretch = /^(text|reasoning)-(start|delta|end)$/.exec(type);
    if (stretch) return this.stretch(`${stretch[1]} ${chunk.id}`, stretch[2]!);
    if (type === "start-step" || type === "reset-step") this.open.clear();
    if (!type.startsWith("tool-")) return true;
    const call = String(chunk.toolCallId);
    if (type === "tool-input-start") this.writing.add(call);
    if (type === "tool-input-delta") return this.writing.has(call);
    if (OPENS_CALL.has(type)) this.calls.add(call);
    return this.calls.has(call);
  }

  private stretch(key: string, event: string): boolean {
    if (event === "start") this.open.add(key);
    const known = this.open.has(key);
    if (event === "end") this.open.delete(key);
    return known;
  }
}

const fieldOf: Record<string, string> = {
  "text-delta": "delta",
  "reasoning-delta": "delta",
  "tool-input-delta": "inputTextDelta",
};
const keyOf = (chunk: Chunk): string => `${chunk.type} ${chunk.id ?? chunk.toolCallId}`;

/** Joins the deltas of one frame. */
export function joinDeltas(): TransformStream<Chunk, Chunk> {
  let held: Chunk | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = (controller: TransformStreamDefaultController<Chunk>) => {
    clearTimeout(timer);
    timer = undefined;
    if (held) controller.enqueue(held);
    held = null;
  };
  return new TransformStream({
    transform(chunk, controller) {
      const field = fieldOf[chunk.type];
      if (held && field && keyOf(held) === keyOf(chunk)) {
        held = { ...held, [field]: `${held[field]}${chunk[field]}` };
        return;
      }
      flush(controller);
      if (!field) return controller.enqueue(chunk);
      held = chunk;
      timer = setTimeout(() => flush(controller), FRAME_MS);
    },
    flush,
  });
}

/** The chunks of a body. `onChunk` sees those that are passed on, before they are joined. */
export function chunksOf(
  body: ReadableStream<Uint8Array>,
  before: UIMessage | undefined,
  onChunk: (chunk: Chunk) => void,
): ReadableStream<UIMessageChunk> {
  const begun = new Begun(before);
  const events = eventsOf(body);
  const chunks = new ReadableStream<Chunk>({
    async pull(controller) {
      for (;;) {
        const { value, done } = await events.next();
        if (done) return controller.close();
        const chunk = chunkIn(value);
        if (!chunk || !begun.fits(chunk)) continue;
        onChunk(chunk);
        controller.enqueue(chunk);
        // What is behind it is of the turn's tools alone: see conversation/background.ts.
        if (chunk.type === "data-background") return void events.return(undefined), controller.close();
        return;
      }
    },
    cancel: async () => void (await events.return(undefined)),
  });
  return chunks.pipeThrough(joinDeltas()) as unknown as ReadableStream<UIMessageChunk>;
}
