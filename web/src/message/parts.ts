// Of a message's parts those that are shown; the events of one team of agents are one, and so are its sources.

import type { UIMessage } from "ai";
import { titled } from "./names.ts";

type Part = UIMessage["parts"][number];

export interface AgentEvent {
  operation_id?: string;
  sequence?: number;
  agent_name?: string;
  event_type?: string;
  content?: unknown;
}

export interface ToolCall {
  toolCallId: string;
  type: string;
  toolName?: string;
  title?: string;
  state: string;
  input?: unknown;
  output?: unknown;
  errorText?: string;
  preliminary?: boolean;
  approval?: { id: string; approved?: boolean; reason?: string };
}

/** How the conversation was made to fit the model's window. Of the room that there is without the answer's, so much is used. */
export interface ContextState {
  state?: string;
  reason?: string;
  usedTokens?: number;
  roomTokens?: number;
  windowTokens?: number;
}

export interface Source {
  sourceId: string;
  title?: string;
  url?: string;
}

/** What an outside service asks while it works on a call: an approval answers it, and its reason is the field's value. */
export interface Elicitation {
  source: string;
  message: string;
  content: [string, string][];
  field?: { title: string; options: string[] };
  url?: string;
  problem?: string;
}

export type Shown =
  | { kind: "text"; key: string; text: string; open: boolean }
  /** `place`: among those of its message. */
  | { kind: "reasoning"; key: string; text: string; open: boolean; place: number }
  | { kind: "tool"; key: string; call: ToolCall; elicitation?: Elicitation }
  | { kind: "agents"; key: string; events: AgentEvent[] }
  | { kind: "file"; key: string; url: string; mediaType: string; name?: string }
  | { kind: "unread"; key: string; name: string; problem: string }
  | { kind: "withheld"; key: string }
  | { kind: "sources"; key: string; sources: Source[] }
  | { kind: "context"; key: string; context: ContextState };

export function shownParts(parts: Part[]): Shown[] {
  const shown: Shown[] = [];
  let thoughts = 0;
  const teams = new Map<string, AgentEvent[]>();
  const sources: Source[] = [];
  const elicited = new Map(parts.flatMap((part) => (part.type === "data-elicitation" ? [[part.id, elicitationOf(part.data)] as const] : [])));
  parts.forEach((part, n) => {
    if (part.type === "data-agent") addEvent(teams, shown, part.data as AgentEvent | null);
    else if (part.type === "source-url" || part.type === "source-document") sources.push(part);
    else if (part.type === "data-context") shown.push({ kind: "context", key: `context-${n}`, context: (part.data ?? {}) as ContextState });
    else if (part.type === "data-file") shown.push({ kind: "unread", key: `unread-${n}`, ...untold(part.data) });
    else if (part.type === "data-withheld") shown.push({ kind: "withheld", key: `withheld-${n}` });
    else if (part.type === "file") shown.push({ kind: "file", key: `file-${n}`, url: part.url, mediaType: part.mediaType, name: part.filename });
    else if ("toolCallId" in part) shown.push({ kind: "tool", key: part.toolCallId, call: part as ToolCall, elicitation: elicited.get((part as ToolCall).approval?.id) });
    else if ((part.type === "text" || part.type === "reasoning") && part.text) {
      const said = { key: `${part.type}-${shown.length}`, text: part.text, open: part.state === "streaming" };
      shown.push(part.type === "text" ? { kind: part.type, ...said } : { kind: part.type, ...said, place: thoughts++ });
    }
  });
  if (sources.length > 0) shown.push({ kind: "sources", key: "sources", sources });
  return shown;
}

/** A file of the question that the model was told nothing of. */
function untold(data: unknown): { name: string; problem: string } {
  const { name, problem } = (data ?? {}) as { name?: unknown; problem?: unknown };
  return { name: typeof name === "string" ? name : "", problem: typeof problem === "string" ? problem : "" };
}

function elicitationOf(data: unknown): Elicitation {
  const { source, message, content, field, url, problem } = (data ?? {}) as Record<string, unknown>;
  const { name, title, options } = (field ?? {}) as Record<string, unknown>;
  return {
    source: text(source),
    message: text(message),
    content: Object.entries((content ?? {}) as object).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    ...(name !== undefined && { field: { title: text(title) || text(name), options: Array.isArray(options) ? options.map(text) : [] } }),
    ...(typeof url === "string" && /^https?:\/\//i.test(url) && { url }),
    ...(problem !== undefined && { problem: text(problem) }),
  };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** Teams that work side by side do not mix. An event with the number of an earlier one stands in its place. */
function addEvent(teams: Map<string, AgentEvent[]>, shown: Shown[], event: AgentEvent | null): void {
  if (!event) return;
  const team = event.operation_id ?? "";
  let events = teams.get(team);
  if (!events) {
    events = [];
    teams.set(team, events);
    shown.push({ kind: "agents", key: `agents-${team}`, events });
  }
  const same = event.sequence === undefined ? -1 : events.findIndex((one) => one.sequence === event.sequence);
  if (same >= 0) events[same] = event;
  else events.push(event);
}

export const toolNameOf = ({ type, toolName }: ToolCall): string => (type === "dynamic-tool" ? (toolName ?? "") : type.replace(/^tool-/, ""));

/** What a person calls it, where these parts have the call. */
export function titleOfCall(parts: readonly Part[], callId: string): string | undefined {
  const call = parts.find((part) => "toolCallId" in part && part.toolCallId === callId) as ToolCall | undefined;
  return call && (call.title ?? titled(toolNameOf(call)));
}
