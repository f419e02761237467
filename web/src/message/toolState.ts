import type { Words } from "../words/words.ts";
import type { ToolCall } from "./parts.ts";
import { inStoredOrder } from "./storedOrder.ts";

export type ToolState = "asked" | "running" | "waiting" | "approved" | "done" | "failed" | "cancelled" | "denied" | "unfinished";

/** How a call fares. `over`: its message has come to its end, and what has no end by now gets none. */
export function stateOf({ state, preliminary, approval, errorText }: ToolCall, over: boolean): ToolState {
  if (state === "output-denied") return "denied";
  if (state === "output-error") return errorText?.startsWith("CANCELLED") ? "cancelled" : "failed";
  // A service that was told no to what it asked may say all the same how the call ended.
  if (state === "output-available" && !preliminary) return "done";
  if (approval?.approved === false) return "denied";
  if (state === "approval-requested" && approval?.approved === undefined) return "waiting";
  if (state.startsWith("approval-")) return "approved";
  if (over) return "unfinished";
  return preliminary ? "running" : "asked";
}

export function stateWord(state: ToolState, words: Words): string {
  return state === "failed" ? words.toolFailedState : words[state];
}

export interface Progress {
  percent?: number;
  message?: string;
}

export function progressOf({ output }: ToolCall, state: ToolState): Progress {
  if (state !== "running" || typeof output !== "object" || output === null) return {};
  const { percent, message } = output as Record<string, unknown>;
  return {
    ...(typeof percent === "number" && { percent: Math.min(100, Math.max(0, percent)) }),
    ...(typeof message === "string" && { message }),
  };
}

/** The markdown in what a tool has given so far, or null. */
export function documentIn({ output, preliminary }: ToolCall): string | null {
  const given = preliminary ? (output as { data?: unknown } | null)?.data : output;
  const markdown = (given as { markdown?: unknown } | null | undefined)?.markdown;
  return typeof markdown === "string" ? markdown : null;
}

export function withoutDocument(call: ToolCall): unknown {
  if (documentIn(call) === null) return call.output;
  return Object.fromEntries(Object.entries(call.output as object).filter(([name]) => name !== "markdown"));
}

/** A result that is short enough to be read at once: a text, a number, or a flat object of such. */
export function plainResult(output: unknown): [string, string][] | null {
  if (isShort(output)) return [["", String(output)]];
  if (typeof output !== "object" || output === null || Array.isArray(output)) return null;
  const entries = Object.entries(inStoredOrder(output) as object);
  if (entries.length === 0 || entries.length > 8 || !entries.every(([, value]) => isShort(value))) return null;
  return entries.map(([name, value]) => [name, String(value)]);
}

const isShort = (value: unknown): boolean =>
  (typeof value === "string" && value.length > 0 && value.length <= 300) || typeof value === "number" || typeof value === "boolean";

/** The files that a tool has kept with the conversation: `files` of its result, by addresses of this service alone. */
export function filesIn({ state, output, preliminary }: ToolCall): { url: string; mediaType: string; name: string }[] {
  if (state !== "output-available" || preliminary) return [];
  const files = (output as { files?: unknown } | null)?.files;
  return (Array.isArray(files) ? files : []).flatMap((file: Record<string, unknown> | null) => {
    const { type, url, mediaType, filename } = file ?? {};
    const isOurs = type === "file" && typeof url === "string" && /^\/api\/chat\/files\/file_[0-9a-f]{32}$/.test(url);
    return isOurs ? [{ url, mediaType: String(mediaType), name: typeof filename === "string" ? filename : "" }] : [];
  });
}
