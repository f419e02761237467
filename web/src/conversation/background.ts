// The turns of a conversation that made way for a message: how their tools get on, beside the answer that is written.
//
// Each is followed by its own stream, of which the outputs of tools are taken, and what they show beside their calls. When
// one has ended, the turn that continues it is there: `onEnd`.

import type { ActiveTask } from "../client/api.ts";
import { eventsOf } from "../client/events.ts";
import { isAbort } from "../client/problem.ts";
import { resumingFetch } from "../client/resumingFetch.ts";
import type { UIMessage } from "ai";

type Part = UIMessage["parts"][number];
const keyOf = (part: Part): string => `${part.type} ${"id" in part ? part.id : ""}`;
type Output = Record<string, unknown> & { toolCallId?: string };

export class BackgroundTurns {
  private readonly followed = new Set<string>();
  private readonly outputs = new Map<string, Output>();
  /** By message, and by type and id. */
  private readonly beside = new Map<string, Map<string, Part>>();
  private readonly signal: AbortSignal;
  private readonly onOutput: () => void;
  private readonly onEnd: () => void;

  constructor(signal: AbortSignal, onOutput: () => void, onEnd: () => void) {
    this.signal = signal;
    this.onOutput = onOutput;
    this.onEnd = onEnd;
  }

  /** Follow those that are not followed yet. */
  follow(tasks: readonly ActiveTask[]): void {
    for (const task of tasks) {
      if (this.followed.has(task.task_id)) continue;
      this.followed.add(task.task_id);
      void this.read(task);
    }
  }

  /** The messages with what their tools have given since they were stored; those that have not changed stay as they are. */
  applied(messages: UIMessage[]): UIMessage[] {
    if (this.outputs.size === 0 && this.beside.size === 0) return messages;
    return messages.map((message) => {
      const beside = this.beside.get(message.id);
      const parts = message.parts.map((part) => beside?.get(keyOf(part)) ?? this.changed(part));
      const known = new Set(parts.map(keyOf));
      const lacking = [...(beside ?? [])].flatMap(([key, part]) => (known.has(key) ? [] : [part]));
      if (lacking.length === 0 && parts.every((part, n) => part === message.parts[n])) return message;
      const at = parts.findLastIndex((part) => "toolCallId" in part || beside?.has(keyOf(part))) + 1;
      return { ...message, parts: [...parts.slice(0, at), ...lacking, ...parts.slice(at)] };
    });
  }

  private changed(part: Part): Part {
    const output = "toolCallId" in part ? this.outputs.get(part.toolCallId) : undefined;
    const open = "state" in part && (part.state === "input-available" || ("preliminary" in part && part.preliminary === true));
    return output && open ? ({ ...part, ...output } as Part) : part;
  }

  private async read(task: ActiveTask): Promise<void> {
    const url = task.stream_url ?? `/api/chat/tasks/${encodeURIComponent(task.task_id)}/stream`;
    try {
      const response = await resumingFetch()(url, { signal: this.signal, headers: { "x-ui-message-stream-version": "7" } });
      if (response.ok && response.body) for await (const { data } of eventsOf(response.body)) this.take(task.message_id, data);
    } catch (error) {
      if (isAbort(error) || this.signal.aborted) return;
      // What it has given stands in the history when it has ended.
    }
    if (!this.signal.aborted) this.onEnd();
  }

  private take(messageId: string, data: string | undefined): void {
    if (data === undefined || data === "[DONE]") return;
    const chunk = JSON.parse(data) as { type: string; id?: string; data?: unknown; transient?: boolean; toolCallId?: string; output?: unknown; errorText?: string; preliminary?: boolean };
    if (chunk.type.startsWith("data-") && chunk.id !== undefined && !chunk.transient) {
      const part = { type: chunk.type, id: chunk.id, data: chunk.data } as Part;
      this.beside.set(messageId, (this.beside.get(messageId) ?? new Map<string, Part>()).set(keyOf(part), part));
      return this.onOutput();
    }
    if (chunk.toolCallId === undefined) return;
    if (chunk.type === "tool-output-available") {
      this.outputs.set(chunk.toolCallId, { state: "output-available", output: chunk.output, preliminary: chunk.preliminary });
    } else if (chunk.type === "tool-output-error") {
      this.outputs.set(chunk.toolCallId, { state: "output-error", errorText: chunk.errorText, preliminary: undefined });
    } else {
      return;
    }
    this.onOutput();
  }
}
