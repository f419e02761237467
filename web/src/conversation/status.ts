// What is said below the conversation while a turn runs. It is read aloud, so it must not chatter: progress is told
// now and then, and the rest only where something begins or ends.

import type { Chunk } from "../client/chunks.ts";
import { titled } from "../message/names.ts";
import { locale, type Said } from "../words/words.ts";

const PROGRESS_MS = 5_000;

export class Teller {
  private progressAt = -Infinity;
  private readonly titles = new Map<string, string>();
  private readonly known: (callId: string) => string | undefined;

  /** `known`: the titles of calls that its message had before it. */
  constructor(known: (callId: string) => string | undefined) {
    this.known = known;
  }

  /** What is to be said of this chunk, or null. */
  said(chunk: Chunk): Said | null {
    const title = this.titleOf(chunk);
    switch (chunk.type) {
      case "reasoning-start":
        return (words) => words.thinking;
      case "text-start":
        return (words) => words.answering;
      case "reset-step":
        return (words) => words.interrupted;
      case "tool-input-start":
      case "tool-input-available":
        return (words) => words.calling(title);
      case "tool-approval-request":
        return (words) => words.toolWaits(title);
      case "tool-output-available":
        return chunk.preliminary ? this.progress(title, chunk.output) : (words) => words.toolDone(title);
      case "tool-output-error":
        return (words) => words.toolFailed(title);
      case "tool-output-denied":
        return (words) => words.toolDenied(title);
      default:
        return dataSaid(chunk);
    }
  }

  private titleOf({ toolCallId, toolName, title }: Chunk): string {
    const id = String(toolCallId);
    if (typeof toolName === "string") this.titles.set(id, (title as string | undefined) ?? titled(toolName));
    return this.titles.get(id) ?? this.known(id) ?? titled("");
  }

  private progress(title: string, output: unknown): Said | null {
    if (performance.now() - this.progressAt < PROGRESS_MS) return null;
    this.progressAt = performance.now();
    const message = (output as { message?: string } | null)?.message;
    return message ? () => `${title}: ${message}` : (words) => words.toolRuns(title);
  }
}

/** `data-status` and `data-queue`: what a turn waits for, as the server tells it while nothing else comes. */
function dataSaid({ type, data }: Chunk): Said | null {
  const told = (data ?? {}) as Record<string, unknown>;
  const number = (...names: string[]) => names.map((name) => told[name]).find((value) => typeof value === "number") as number | undefined;
  if (type === "data-queue") {
    if (number("workers") === 0) return (words) => words.noWorker;
    const position = number("position") ?? 0;
    const seconds = number("wait_seconds", "expected_wait_seconds");
    return position > 0 ? (words) => words.inQueue(position, seconds) : (words) => words.nextInQueue;
  }
  if (type !== "data-status") return null;
  if (told.state === "running") return (words) => words.answering;
  // In line it is others that are waited for: the model is there.
  if (told.waitsFor === "model" && told.code !== "MODEL_IN_LINE") return modelAway(told.since);
  if (told.waitsFor === "summary") return (words) => words.makingNotes;
  const said = told.message ?? told.text;
  return typeof said === "string" && said ? () => said : null;
}

function modelAway(since: unknown): Said {
  const time = typeof since === "string" ? new Date(since) : null;
  const isKnown = time && !Number.isNaN(time.getTime());
  return (words) => words.modelAway(isKnown ? time.toLocaleTimeString(locale(), { timeStyle: "short" }) : "");
}
