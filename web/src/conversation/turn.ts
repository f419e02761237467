// The turn that runs: which one it is, what its stream says of it, how it is stopped, and how it came out.

import { cancelTask } from "../client/api.ts";
import type { Chunk } from "../client/chunks.ts";
import type { Problem } from "../client/problem.ts";
import { titleOfCall } from "../message/parts.ts";
import type { Said } from "../words/words.ts";
import type { Host } from "./host.ts";
import type { ConversationState } from "./state.ts";
import { StatusLine, type Watched } from "./statusLine.ts";

interface Live {
  taskId: string | null;
  answerId: string | null;
  stopping: boolean;
}

export class RunningTurn implements Watched {
  /** Those of the conversation that are known to be over. */
  readonly ended = new Set<string>();
  readonly line = new StatusLine(this);
  /** Why its request, or its stream, was refused. */
  refusal: Problem | null = null;
  private live: Live | null = null;
  private errorChunk = false;
  private readonly state: ConversationState;
  private readonly host: Host;

  constructor(state: ConversationState, host: Host) {
    this.state = state;
    this.host = host;
  }

  get runs(): boolean {
    return this.live !== null;
  }

  get taskId(): string | null {
    return this.live?.taskId ?? null;
  }

  get stopping(): boolean {
    return this.live?.stopping ?? false;
  }

  titleOf(callId: string): string | undefined {
    return titleOfCall(this.state.messages.at(-1)?.parts ?? [], callId);
  }

  show(status: Said | null): void {
    if (!this.state.signal.aborted && this.state.now.status !== status) this.state.set({ status });
  }

  /** Without ids where it is about to be asked for. */
  begin(taskId: string | null = null, answerId: string | null = null): void {
    const stopping = taskId !== null && this.taskId === taskId && this.stopping;
    this.refusal = null;
    this.errorChunk = false;
    this.setLive({ taskId, answerId, stopping });
    this.line.begin();
  }

  /** The server has it. */
  accepted(taskId: string | null): void {
    if (this.live) this.live.taskId = taskId;
  }

  heard(chunk: Chunk): void {
    if (this.state.signal.aborted) return;
    if (chunk.type === "error") this.errorChunk = true;
    if (chunk.type === "start" && this.live && typeof chunk.messageId === "string") {
      this.live.answerId = chunk.messageId;
      this.state.set({ answerId: chunk.messageId });
    }
    const title = chunk.type === "data-title" ? (chunk.data as { title?: unknown } | null)?.title : undefined;
    if (typeof title === "string") {
      this.state.set({ title });
      this.host.onTitle(title);
    }
    this.line.heard(chunk);
  }

  /** Whether it was told to its end. False: it has to be read anew. Throws what refused it for good. */
  outcome(): boolean {
    const problem = this.refusal;
    this.refusal = null;
    if (!problem || this.errorChunk) return true;
    if (problem.status === 204 || ["STREAM_TRUNCATED", "TASK_EXPIRED", "TASK_NOT_FOUND"].includes(problem.code)) return false;
    if (problem.passing) return false;
    throw problem;
  }

  /** What was asked for is over, if it was told to its end. */
  over(): void {
    if (!this.outcome()) return;
    if (this.taskId) this.ended.add(this.taskId);
    this.host.onEnd();
  }

  /** None runs any more. */
  end(): void {
    if (this.state.signal.aborted) this.line.end(null);
    else this.setLive(null);
  }

  /** A request was answered that had to be waited for, or a question to a person: the line says what is so now. */
  answered(): void {
    if (this.live) this.line.sayState();
    else this.setLive(null);
  }

  private setLive(live: Live | null): void {
    this.live = live;
    this.state.set({ running: live !== null, answerId: live?.answerId ?? null });
    if (!live) this.line.end(this.asksForApproval ? (words) => words.approvalWanted : null);
  }

  private get asksForApproval(): boolean {
    const last = this.state.messages.findLast((message) => message.role === "assistant");
    const isLast = last !== undefined && last === this.state.messages.at(-1);
    return isLast && last.parts.some((part) => "approval" in part && part.state === "approval-requested" && part.approval?.approved === undefined);
  }

  // Stopped

  /** Ask the server to end it. What there is of the answer is kept. */
  async stop(): Promise<void> {
    if (!this.live || this.stopping) return;
    this.live.stopping = true;
    this.line.sayState();
    await this.cancelStopped();
  }

  /** One that was stopped before the server had it is ended when the server has. */
  async cancelStopped(): Promise<void> {
    const { live } = this;
    if (!live?.stopping || !live.taskId) return;
    const { taskId } = live;
    try {
      await this.state.insist(() => cancelTask(taskId));
    } catch (error) {
      live.stopping = false;
      this.answered();
      this.state.failed(error);
    }
  }

  /** End it, where one runs, by a request that ends more than it. */
  async stopBy(request: () => Promise<unknown>): Promise<void> {
    if (this.live) this.live.stopping = true;
    this.answered();
    try {
      await request();
    } catch (error) {
      if (this.live) this.live.stopping = false;
      this.answered();
      this.state.failed(error);
    }
  }
}
