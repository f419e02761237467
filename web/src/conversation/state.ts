// What the parts of one conversation share: what is shown of it, its messages, and how its requests are tried and fail.

import type { Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import { persist } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { sentenceOf, type Said } from "../words/words.ts";
import { textOf } from "./history.ts";
import type { Pending } from "./pending.ts";
import type { Talk } from "./talk.ts";

export interface Snapshot {
  /** Null: its program is not there yet. */
  chat: Chat<UIMessage> | null;
  exists: boolean;
  loaded: boolean;
  running: boolean;
  /** The id of the answer that is being written, as far as it is known. */
  answerId: string | null;
  /** What is read of the first answer before its program shows it. */
  early: string;
  status: Said | null;
  problem: Said | null;
  pending: readonly Pending[];
  hasOlder: boolean;
  /** There is none of this address, or it is another person's. */
  absent: boolean;
  title: string | null;
  temporary: boolean;
  archived: boolean;
  /** Messages whose tools run on while the conversation goes on. */
  background: readonly string[];
  /** The message that somebody wants to see. */
  sought: string | null;
}

const BEGINNING: Snapshot = {
  chat: null, exists: true, loaded: false, running: false, answerId: null, early: "", status: null, problem: null,
  pending: [], hasOlder: false, absent: false, title: null, temporary: false, archived: false, background: [], sought: null,
};

export class ConversationState {
  readonly sessionId: string;
  now: Snapshot;
  private its: Talk | null = null;
  private readonly onWait: (problem: Problem) => void;
  private readonly onAnswer: () => void;
  private readonly leaving = new AbortController();
  private readonly listeners = new Set<() => void>();

  /** `isNew`: the server does not know it yet. `onWait`: a request was refused for now; `onAnswer`: it waits no more. */
  constructor(sessionId: string, isNew: boolean, temporary: boolean, onWait: (problem: Problem) => void, onAnswer: () => void) {
    this.sessionId = sessionId;
    this.onWait = onWait;
    this.onAnswer = onAnswer;
    this.now = { ...BEGINNING, exists: !isNew, loaded: isNew, temporary };
  }

  // For React

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): Snapshot => this.now;

  set(change: Partial<Snapshot>): void {
    this.now = { ...this.now, ...change };
    for (const listener of this.listeners) listener();
  }

  // The program that follows and shows it

  get talk(): Talk | null {
    return this.its;
  }

  set talk(talk: Talk) {
    this.its = talk;
    this.set({ chat: talk.chat });
  }

  /** Only where its program is there. */
  get chat(): Chat<UIMessage> {
    return this.its!.chat;
  }

  get messages(): UIMessage[] {
    return this.its?.chat.messages ?? [];
  }

  set messages(messages: UIMessage[]) {
    this.chat.messages = messages;
  }

  message(id: string): UIMessage | undefined {
    return this.messages.find((message) => message.id === id);
  }

  get firstText(): string {
    const first = this.messages.find((message) => message.role === "user");
    return first ? textOf(first) : (this.now.pending[0]?.text ?? "");
  }

  get hasOlder(): boolean {
    return this.now.hasOlder;
  }

  set hasOlder(hasOlder: boolean) {
    this.set({ hasOlder });
  }

  // Its requests

  /** Aborted when it is left. */
  get signal(): AbortSignal {
    return this.leaving.signal;
  }

  leave(): void {
    this.leaving.abort(new DOMException("The conversation was left.", "AbortError"));
  }

  async insist<T>(action: () => Promise<T>): Promise<T> {
    let waited = false;
    const onWait = (problem: Problem) => {
      waited = true;
      this.onWait(problem);
    };
    try {
      return await persist(action, { signal: this.signal, onWait });
    } finally {
      if (waited) this.onAnswer();
    }
  }

  failed(error: unknown): void {
    if (this.signal.aborted || isAbort(error)) return;
    if (!(error instanceof Problem)) throw error;
    if (!this.now.loaded && [400, 403, 404, 422].includes(error.status)) return this.set({ absent: true, loaded: true });
    this.set({ problem: sentenceOf(error), loaded: true });
  }

  tell(problem: Said | null): void {
    this.set({ problem });
  }
}
