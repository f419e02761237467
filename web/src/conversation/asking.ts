// Requests that begin a turn and bring its answer: a first message, a question put otherwise, an answer once more.

import type { UIMessage } from "ai";
import { beginRequest } from "../client/firstRequest.ts";
import { Problem } from "../client/problem.ts";
import { isOffline } from "../client/waiting.ts";
import { sentenceOf } from "../words/words.ts";
import type { Following } from "./following.ts";
import { filesOf, textOf } from "./history.ts";
import type { Host } from "./host.ts";
import type { ModelChoice } from "./models.ts";
import { editedOf, keepEdited } from "./outbox.ts";
import type { Pending, PendingMessages } from "./pending.ts";
import type { ConversationState } from "./state.ts";
import type { RunningTurn } from "./turn.ts";

/** The parts of the conversation that have to do with it. */
interface Parts {
  turn: RunningTurn;
  pending: PendingMessages;
  model: ModelChoice;
  following: Following;
}

export class Asking {
  private readonly state: ConversationState;
  private readonly parts: Parts;
  private readonly host: Host;
  private accepted: (() => void) | null = null;
  private sendingId: string | null = null;

  constructor(state: ConversationState, parts: Parts, host: Host) {
    this.state = state;
    this.parts = parts;
    this.host = host;
  }

  /** The server has not answered yet whether it takes the message. */
  get underWay(): boolean {
    return this.accepted !== null;
  }

  /** Nothing runs: the message and its answer are one request. Resolves when the server has it, or refused it. */
  sendFirst(one: Pending): Promise<void> {
    const { id, text, files = [], model } = one;
    const message: UIMessage = { id, role: "user", parts: [...files, ...(text ? [{ type: "text" as const, text }] : [])] };
    const body = { ...this.parts.pending.optionsOf(id, model), ...(this.state.now.temporary && { temporary: true as const }) };
    return new Promise((resolve) => {
      this.accepted = resolve;
      this.sendingId = id;
      const ask = async () => {
        await this.state.chat.sendMessage(message, { body });
        await this.settle(one);
      };
      void this.parts.following.act(() => ask().finally(resolve)).then((isTaken) => isTaken || resolve());
      // What follows its answer need not be there for it to go, to be waited for and to be stopped.
      this.parts.turn.begin();
      if (!this.state.talk && !isOffline()) beginRequest(this.state.sessionId, message, body, (early) => this.state.set({ early }));
    });
  }

  /** The server has the message, and has begun a turn for it. */
  onAccepted(taskId: string | null): void {
    const { turn, pending } = this.parts;
    turn.accepted(taskId);
    keepEdited(this.state.sessionId, null);
    this.state.set({ exists: true });
    pending.drop(this.sendingId);
    this.accepted?.();
    this.accepted = null;
    if (this.state.signal.aborted) return void this.state.chat.stop();
    this.host.onChange();
    void turn.cancelStopped();
  }

  /** After the first request: was it taken? */
  private async settle(one: Pending): Promise<void> {
    const { id } = one;
    const taken = this.sendingId === id && this.accepted === null;
    this.accepted = null;
    this.state.set({ early: "" });
    if (taken) return this.parts.turn.over();
    this.state.messages = this.state.messages.filter((message) => message.id !== id);
    await this.parts.pending.refused(one, this.parts.turn.refusal ?? new Problem("", { code: "UNREACHABLE" }));
  }

  // Once more

  regenerate(messageId: string): Promise<boolean> {
    const { pending, model } = this.parts;
    return this.onceMore(messageId, () => this.state.chat.regenerate({ messageId, body: pending.optionsOf(messageId, model.name) }));
  }

  /** Put another question in the place of this one; what follows it goes. Resolves when it is begun. False: it is not. */
  async edit(messageId: string, text: string): Promise<boolean> {
    const { turn, pending, model } = this.parts;
    const { sessionId, signal } = this.state;
    keepEdited(sessionId, { id: messageId, text });
    const giveBack = () => {
      keepEdited(sessionId, null);
      this.host.onReturn(text);
    };
    const ask = async (edited: UIMessage) => {
      // With the files that it has.
      await this.state.chat.sendMessage({ text, messageId, files: filesOf(edited.parts) }, { body: pending.optionsOf(messageId, model.name) });
      if (turn.refusal && !turn.taskId) giveBack();
    };
    const isTaken = await this.onceMore(messageId, ask, giveBack);
    if (!isTaken && !signal.aborted) keepEdited(sessionId, null);
    return isTaken;
  }

  /** What was on its way when the page was left, once nothing runs. */
  async editAgain(): Promise<void> {
    const { sessionId, signal } = this.state;
    const edited = editedOf(sessionId);
    if (!edited || signal.aborted) return;
    const message = this.state.message(edited.id);
    if (message && textOf(message) === edited.text) return keepEdited(sessionId, null);
    if (!(await this.edit(edited.id, edited.text)) && !signal.aborted) this.host.onReturn(edited.text);
  }

  /** `gone`: the message is none of this branch any more. */
  private onceMore(messageId: string, ask: (message: UIMessage) => Promise<void>, gone = () => {}): Promise<boolean> {
    const { turn, following } = this.parts;
    return following.act(async () => {
      const message = this.state.message(messageId);
      if (!message) return gone();
      this.state.tell(null);
      turn.begin();
      await ask(message);
      if (!turn.taskId && turn.refusal) this.state.tell(sentenceOf(turn.refusal));
      else turn.over();
    });
  }
}
