// What a person says of an answer: thumbs, and yes or no to a tool that asks first.

import * as api from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import type { Said } from "../words/words.ts";
import type { Following } from "./following.ts";
import { dataOf, withApproval, withFeedback } from "./history.ts";
import type { Host } from "./host.ts";
import { SEND_TRIES } from "./pending.ts";
import type { ConversationState } from "./state.ts";
import { whyNot } from "./statusLine.ts";
import type { RunningTurn } from "./turn.ts";

export class Verdicts {
  private readonly state: ConversationState;
  private readonly turn: RunningTurn;
  private readonly following: Following;
  private readonly host: Host;
  private rated: Promise<void> = Promise.resolve();

  constructor(state: ConversationState, turn: RunningTurn, following: Following, host: Host) {
    this.state = state;
    this.turn = turn;
    this.following = following;
    this.host = host;
  }

  /** What a person thinks of an answer; null: nothing any more. It is seen at once, and goes where it was not taken. The
   * server hears of one after the other: of two at once it would keep the one that comes last. */
  rate(messageId: string, feedback: api.Feedback | null): Promise<void> {
    const before = dataOf(this.state.message(messageId)!).feedback ?? null;
    this.state.tell(null);
    this.setFeedback(messageId, feedback);
    this.rated = this.rated.then(() => this.sendRating(messageId, feedback, before));
    return this.rated;
  }

  private async sendRating(messageId: string, feedback: api.Feedback | null, before: api.Feedback | null): Promise<void> {
    const { sessionId, signal } = this.state;
    try {
      await api.persist(() => api.giveFeedback(sessionId, messageId, feedback), { signal, onWait: () => {}, tries: SEND_TRIES });
    } catch (error) {
      this.setFeedback(messageId, before);
      this.state.failed(error);
    }
  }

  private setFeedback(messageId: string, feedback: api.Feedback | null): void {
    this.state.messages = withFeedback(this.state.messages, messageId, feedback);
  }

  /** A person's answer to a tool that asks first. With the last one its turn goes on. Throws the refusal. */
  async decide(messageId: string, toolCallId: string, approved: boolean, reason: string, onWait: (why: Said) => void): Promise<void> {
    const taskId = dataOf(this.state.message(messageId)!).taskId ?? this.turn.taskId;
    if (!taskId) return;
    const retry = { signal: this.state.signal, onWait: (problem: Problem) => onWait(whyNot(problem)), tries: SEND_TRIES };
    this.state.tell(null);
    try {
      const { status } = await api.persist(() => api.answerApproval(taskId, toolCallId, approved, reason), retry);
      this.state.messages = withApproval(this.state.messages, messageId, toolCallId, { approved, ...(reason && { reason }) });
      this.host.onChange();
      if (status === "accepted") void this.following.refresh();
      else this.turn.answered();
    } catch (error) {
      if (error instanceof Problem && [404, 409, 410].includes(error.status)) void this.following.refresh();
      throw error;
    }
  }
}
