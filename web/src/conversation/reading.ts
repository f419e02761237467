// The history of a conversation, read from the server: what is shown, what waits, and which turn runs or is next.

import type { UIMessage } from "ai";
import { getSession, getTask, type ActiveTask } from "../client/api.ts";
import type { BackgroundTurns } from "./background.ts";
import type { EarlierMessages } from "./earlier.ts";
import { dataOf, pageOf, sequenceOf, trailing, waitingFrom } from "./history.ts";
import type { Host } from "./host.ts";
import type { PendingMessages } from "./pending.ts";
import type { ConversationState } from "./state.ts";
import type { RunningTurn } from "./turn.ts";

/** The parts of the conversation that show what was read. */
interface Parts {
  turn: RunningTurn;
  pending: PendingMessages;
  earlier: EarlierMessages;
}

export class HistoryReading {
  /** Whether the next history that is read may be another one from its beginning on. */
  otherBranch = false;
  /** Once the program is there that follows them. */
  background: BackgroundTurns | null = null;
  /** What is to be among its messages, however far back it stands. */
  wanted: string | null = null;
  private readonly state: ConversationState;
  private readonly parts: Parts;
  private readonly host: Host;
  /** How often it was asked what waits. */
  private waitingAsked = 0;

  constructor(state: ConversationState, parts: Parts, host: Host) {
    this.state = state;
    this.parts = parts;
    this.host = host;
  }

  /** Show the history; answer the turn that runs or is next. */
  async load(): Promise<ActiveTask | null> {
    const { state } = this;
    if (!state.now.exists) return null;
    this.waitingAsked += 1;
    const session = await state.insist(() => getSession(state.sessionId, { signal: state.signal }));
    const active = session.active_task;
    const known = state.messages;
    const page = pageOf(session.messages, known);
    const first = page[0] ? sequenceOf(page[0]) : 0;
    // Of another branch what was read before may be no part.
    const older = this.otherBranch ? [] : known.filter((message) => sequenceOf(message) < first);
    this.otherBranch = false;
    const count = await this.waitingAfter(page, active);
    this.show([...older, ...page.slice(0, count)], page.slice(count), session.steering ?? []);
    this.background?.follow(session.background_tasks ?? []);
    state.set({ background: (session.background_tasks ?? []).map((task) => task.message_id) });
    state.set({ loaded: true, title: session.title, temporary: session.temporary ?? false, archived: Boolean(session.archived_at), ...(older.length === 0 && { hasOlder: session.has_more }) });
    void this.parts.earlier.until(this.wanted ?? state.now.sought);
    this.wanted = null;
    this.host.onSession(session, session.has_more ? "" : state.firstText);
    this.noteWhole(active);
    return active;
  }

  /** A turn that was read between its end and the history is whole already. */
  private noteWhole(active: ActiveTask | null): void {
    const last = this.state.messages.at(-1);
    if (active && last?.id === active.message_id && dataOf(last).taskId === active.task_id) this.parts.turn.ended.add(active.task_id);
  }

  /** Another device may have taken back what waits here, or sent more. An older answer than the last says nothing. */
  async readWaiting(): Promise<void> {
    const { state } = this;
    const { pending } = this.parts;
    const asked = (this.waitingAsked += 1);
    const waited = pending.queued.map(({ id }) => id);
    try {
      const { messages, active_task, steering = [] } = await getSession(state.sessionId, { signal: state.signal });
      const page = pageOf(messages, state.messages);
      const answered = await this.waitingAfter(page, active_task);
      if (asked !== this.waitingAsked) return;
      const shown = new Set(state.messages.map(({ id }) => id));
      pending.show(page.slice(answered).filter(({ id }) => !shown.has(id)), steering, new Set(waited));
    } catch (error) {
      state.failed(error);
    }
  }

  /** How many messages of the newest page are answered, or being answered: those behind them wait. */
  private async waitingAfter(page: UIMessage[], active: ActiveTask | null): Promise<number> {
    if (!active) return page.length;
    return waitingFrom(page, active.message_id, trailing(page) > 1 ? await this.questionOf(active) : null);
  }

  private async questionOf(active: ActiveTask): Promise<string | null> {
    const task = await this.state.insist(() => getTask(active.task_id, this.state.signal));
    if (task.ended_at) this.parts.turn.ended.add(task.task_id);
    return task.message_id;
  }

  private show(messages: UIMessage[], waiting: UIMessage[], steering: readonly string[]): void {
    const known = new Set([...messages, ...waiting].map((message) => message.id));
    this.state.messages = this.background?.applied(messages) ?? messages;
    this.parts.pending.show(waiting, steering, known);
  }
}
