// One conversation: its history, the turn that runs, sending, stopping.
//
// The server's history is the truth. While a turn runs, `useChat` builds its answer from the stream; when it has ended
// the history is read again, which also finds the next turn that waits. One loop does all of that, so that never two
// streams write into the chat.

import type { Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import * as api from "../client/api.ts";
import type { Chunk } from "../client/chunks.ts";
import { beginRequest } from "../client/firstRequest.ts";
import { isAbort, Problem } from "../client/problem.ts";
import type { Listener } from "../client/transport.ts";
import { backoffMs, isOffline, sleep } from "../client/waiting.ts";
import { sentenceOf, type Said } from "../words/words.ts";
import { BackgroundTurns } from "./background.ts";
import { EarlierMessages, type Shown } from "./earlier.ts";
import { dataOf, filesOf, pageOf, sequenceOf, textOf, trailing, waitingFrom, withApproval, withFeedback } from "./history.ts";
import { ModelChoice } from "./models.ts";
import type { Attachment } from "./outbox.ts";
import { PendingMessages, SEND_TRIES, type Addressee, type Pending } from "./pending.ts";
import { StatusLine, whyNot, type Watched } from "./statusLine.ts";
import type { Talk } from "./talk.ts";
import { talking, talkingNow } from "./talking.ts";

export interface Snapshot {
  /** Null: its program is not there yet. */
  chat: Chat<UIMessage> | null;
  exists: boolean;
  loaded: boolean;
  running: boolean;
  /** The id of the answer that is being written, as far as it is known. */
  answerId: string | null;
  status: Said | null;
  problem: Said | null;
  pending: readonly Pending[];
  hasOlder: boolean;
  /** There is none of this address, or it is another person's. */
  absent: boolean;
  title: string | null;
  /** Messages whose tools run on while the conversation goes on. */
  background: readonly string[];
  /** The message that somebody wants to see. */
  sought: string | null;
}

/** What the page around it is told. */
export interface Host {
  /** The server has the conversation, or it has changed. */
  onChange(): void;
  onSession(session: api.SessionDetail, firstText: string): void;
  onReturn(text: string, files?: readonly Attachment[]): void;
  /** Its first message is back in the box: there is nothing of it. */
  onUnbegun(): void;
  /** The conversation has got its title while its answer is written. */
  onTitle(title: string): void;
  onEnd(): void;
}

interface Live {
  taskId: string | null;
  answerId: string | null;
  stopping: boolean;
}

export class Conversation {
  readonly sessionId: string;
  private talk: Talk | null = null;
  private preparing: Promise<void> | null = null;
  private readonly host: Host;
  private readonly leaving = new AbortController();
  private readonly listeners = new Set<() => void>();
  private state: Snapshot;
  private live: Live | null = null;
  private looping = false;
  private again = false;
  private accepted: (() => void) | null = null;
  private sendingId: string | null = null;
  private refusal: Problem | null = null;
  private errorChunk = false;
  private readonly line: StatusLine;
  private readonly ended = new Set<string>();
  private started: string[] = [];
  private readonly background: BackgroundTurns;
  readonly pending: PendingMessages;
  private readonly earlier: EarlierMessages;
  /** How often it was asked what waits. */
  private waitingAsked = 0;
  /** Which model the next message asks for. */
  readonly model: ModelChoice;

  /** `isNew`: the server does not know it yet. */
  constructor(sessionId: string, isNew: boolean, host: Host) {
    this.sessionId = sessionId;
    this.host = host;
    this.model = new ModelChoice(sessionId, () => this.messages, () => this.set({}));
    this.pending = new PendingMessages(this.addressee());
    this.earlier = new EarlierMessages(this.shown());
    this.line = new StatusLine(this.watched());
    this.state = {
      chat: null, exists: !isNew, loaded: isNew, running: false, answerId: null, status: null, problem: null,
      pending: this.pending.list,
      hasOlder: false, absent: false, title: null, background: [], sought: null,
    };
    this.background = new BackgroundTurns(this.signal, () => this.applyOutputs(), () => void this.refresh());
    if (talkingNow()) this.begun(talkingNow()!.makeTalk);
  }

  // The program that follows and shows it

  get messages(): UIMessage[] {
    return this.talk?.chat.messages ?? [];
  }

  private get chat(): Chat<UIMessage> {
    return this.talk!.chat;
  }

  /** Once it is there, there is a chat. Left or not: what was written is sent. */
  private prepare(): Promise<void> {
    const onWait = (problem: Problem) => this.line.waits(problem);
    this.preparing ??= this.talk ? Promise.resolve() : api.persist(talking, { onWait }).then(({ makeTalk }) => this.begun(makeTalk));
    return this.preparing;
  }

  private begun(make: (sessionId: string, listener: Listener, onError: (error: Error) => void) => Talk): void {
    const listener: Listener = {
      onAccepted: (taskId) => this.onAccepted(taskId),
      onChunk: (chunk) => this.onChunk(chunk),
      onState: (state, problem) => this.line.connection(state, problem),
      before: () => this.continued,
    };
    this.talk = make(this.sessionId, listener, (error) => (this.refusal = error instanceof Problem ? error : new Problem(error.message, { status: 400 })));
    this.set({ chat: this.talk.chat });
  }

  // For React

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): Snapshot => this.state;

  private set(change: Partial<Snapshot>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  // Its life

  open(): void {
    void this.prepare();
    if (this.state.exists) void this.refresh();
    this.pending.sendAll();
  }

  /** Leave it. What runs on the server runs on, and so does what is being sent. */
  close(): void {
    this.leaving.abort(new DOMException("The conversation was left.", "AbortError"));
    if (!this.accepted) void this.talk?.chat.stop();
  }

  private get signal(): AbortSignal {
    return this.leaving.signal;
  }

  /** Read the history and follow what runs, until nothing does. Of what the server does not know there is none, and who
   * looks for it would be in the way of its first message. */
  async refresh(): Promise<void> {
    if (this.state.exists) await this.loop();
  }

  /** A turn of this conversation has started, here or elsewhere. */
  heardStart(taskId: string): void {
    this.started.push(taskId);
    if (!this.looping && this.hasNews()) void this.refresh();
  }

  /** A turn has ended. Who follows it knows that, and everybody else reads what it said. */
  heardEnd(taskId: string): void {
    if (this.looping || this.ended.has(taskId)) return;
    this.ended.add(taskId);
    void this.refresh();
  }

  /** Another branch is shown, or nobody waits for an answer any more. */
  heardChange(): void {
    if (this.looping) void this.readWaiting();
    else this.otherBranch = true;
    void this.refresh();
  }

  /** Whether a turn was told of that was not followed. */
  private hasNews(): boolean {
    const started = this.started;
    this.started = [];
    return started.some((taskId) => !this.ended.has(taskId));
  }

  private async loop(first?: () => Promise<void>): Promise<void> {
    if (this.looping) {
      this.again = true;
      return;
    }
    this.looping = true;
    try {
      await this.prepare();
      if (first) await first();
      do {
        this.again = false;
        await this.followAll();
      } while (this.again || this.hasNews());
    } catch (error) {
      this.failed(error);
    } finally {
      this.looping = false;
      if (this.signal.aborted) this.line.end(null);
      else this.setLive(null);
    }
  }

  private failed(error: unknown): void {
    if (this.signal.aborted || isAbort(error)) return;
    if (!(error instanceof Problem)) throw error;
    if (!this.state.loaded && [400, 403, 404, 422].includes(error.status)) return this.set({ absent: true, loaded: true });
    this.set({ problem: sentenceOf(error), loaded: true });
  }

  private async followAll(): Promise<void> {
    for (let fruitless = 0; ; ) {
      this.signal.throwIfAborted();
      const active = await this.load();
      if (!active) return;
      if (!this.ended.has(active.task_id) && (await this.follow(active))) {
        this.ended.add(active.task_id);
        this.host.onEnd();
        fruitless = 0;
      } else {
        // It has ended and the server is about to say so, or its stream is not there yet.
        fruitless += 1;
        await sleep(100 + backoffMs(fruitless, 200), this.signal);
      }
    }
  }

  /** Show the history; answer the turn that runs or is next. */
  private async load(): Promise<api.ActiveTask | null> {
    if (!this.state.exists) return null;
    this.waitingAsked += 1;
    const session = await this.insist(() => api.getSession(this.sessionId, { signal: this.signal }));
    const active = session.active_task;
    const known = this.chat.messages;
    const page = pageOf(session.messages, known);
    const first = page[0] ? sequenceOf(page[0]) : 0;
    // Of another branch what was read before may be no part.
    const older = this.otherBranch ? [] : known.filter((message) => sequenceOf(message) < first);
    this.otherBranch = false;
    const count = await this.waitingAfter(page, active);
    this.show([...older, ...page.slice(0, count)], page.slice(count), session.steering ?? []);
    this.background.follow(session.background_tasks ?? []);
    this.set({ background: (session.background_tasks ?? []).map((task) => task.message_id) });
    this.set({ loaded: true, title: session.title, ...(older.length === 0 && { hasOlder: session.has_more }) });
    void this.readUntil(this.state.sought);
    this.host.onSession(session, session.has_more ? "" : this.firstText);
    const last = this.chat.messages.at(-1);
    // Read between the turn's end and the history: it is whole already.
    if (active && last?.id === active.message_id && dataOf(last).taskId === active.task_id) this.ended.add(active.task_id);
    return active;
  }

  /** How many messages of the newest page are answered, or being answered: those behind them wait. */
  private async waitingAfter(page: UIMessage[], active: api.ActiveTask | null): Promise<number> {
    if (!active) return page.length;
    return waitingFrom(page, active.message_id, trailing(page) > 1 ? await this.questionOf(active) : null);
  }

  private async questionOf(active: api.ActiveTask): Promise<string | null> {
    const task = await this.insist(() => api.getTask(active.task_id, this.signal));
    if (task.ended_at) this.ended.add(task.task_id);
    return task.message_id;
  }

  private show(messages: UIMessage[], waiting: UIMessage[], steering: readonly string[]): void {
    const known = new Set([...messages, ...waiting].map((message) => message.id));
    this.chat.messages = this.background.applied(messages);
    this.pending.show(waiting, steering, known);
  }

  private applyOutputs(): void {
    const messages = this.background.applied(this.chat.messages);
    if (messages.some((message, n) => message !== this.chat.messages[n])) this.chat.messages = messages;
  }

  get firstText(): string {
    const first = this.messages.find((message) => message.role === "user");
    return first ? textOf(first) : (this.state.pending[0]?.text ?? "");
  }

  private insist<T>(action: () => Promise<T>): Promise<T> {
    return api.persist(action, { signal: this.signal, onWait: (problem) => this.line.waits(problem) });
  }

  // The turn that runs

  /** Follow it to its end. False where there was nothing to follow yet, or where it has to be read anew. */
  private async follow(active: api.ActiveTask): Promise<boolean> {
    this.begin({ taskId: active.task_id, answerId: active.message_id, stopping: this.stoppingOf(active.task_id) });
    this.talk!.transport.streamUrl = active.stream_url ?? `/api/chat/tasks/${encodeURIComponent(active.task_id)}/stream`;
    await this.chat.resumeStream();
    this.signal.throwIfAborted();
    return this.outcome();
  }

  private outcome(): boolean {
    const problem = this.refusal;
    this.refusal = null;
    if (!problem || this.errorChunk) return true;
    if (problem.status === 204 || ["STREAM_TRUNCATED", "TASK_EXPIRED", "TASK_NOT_FOUND"].includes(problem.code)) return false;
    if (problem.passing) return false;
    throw problem;
  }

  private stoppingOf(taskId: string): boolean {
    return this.live?.taskId === taskId && this.live.stopping;
  }

  private begin(live: Live): void {
    this.refusal = null;
    this.errorChunk = false;
    this.setLive(live);
    this.line.begin();
  }

  private setLive(live: Live | null): void {
    this.live = live;
    this.set({ running: live !== null, answerId: live?.answerId ?? null });
    if (!live) this.line.end(this.asksForApproval ? (words) => words.approvalWanted : null);
  }

  private get asksForApproval(): boolean {
    const last = this.messages.findLast((message) => message.role === "assistant");
    const isLast = last !== undefined && last === this.messages.at(-1);
    return isLast && last.parts.some((part) => "approval" in part && part.state === "approval-requested" && part.approval?.approved === undefined);
  }

  private say(status: Said | null): void {
    if (!this.signal.aborted && this.state.status !== status) this.set({ status });
  }

  private onAccepted(taskId: string | null): void {
    if (this.live) this.live.taskId = taskId;
    this.set({ exists: true });
    this.pending.drop(this.sendingId);
    this.accepted?.();
    this.accepted = null;
    if (this.signal.aborted) return void this.chat.stop();
    this.host.onChange();
    if (this.live?.stopping && taskId) void this.cancel(this.live, taskId);
  }

  private get continued(): UIMessage | undefined {
    const last = this.chat.messages.at(-1);
    return last?.role === "assistant" ? last : undefined;
  }

  private onChunk(chunk: Chunk): void {
    if (this.signal.aborted) return;
    if (chunk.type === "error") this.errorChunk = true;
    if (chunk.type === "start" && this.live && typeof chunk.messageId === "string") {
      this.live.answerId = chunk.messageId;
      this.set({ answerId: chunk.messageId });
    }
    const title = chunk.type === "data-title" ? (chunk.data as { title?: unknown } | null)?.title : undefined;
    if (typeof title === "string") {
      this.set({ title });
      this.host.onTitle(title);
    }
    this.line.heard(chunk);
  }

  private get hasBegun(): boolean {
    const last = this.messages.at(-1);
    return last?.role === "assistant" && last.id === this.live?.answerId && last.parts.length > 0;
  }

  // Sending

  send(text: string, how: { policy?: api.Policy; files?: readonly Attachment[] } = {}): void {
    this.pending.send(text, how);
  }

  /** What waits goes back into the box, and what runs is ended. The newest first, so that none of them begins meanwhile. */
  async stopAll(): Promise<void> {
    if (this.live) this.live.stopping = true;
    this.line.stopping();
    for (const one of this.pending.queued.reverse()) await this.pending.withdraw(one.id, true);
    try {
      await this.insist(() => api.stopSession(this.sessionId));
    } catch (error) {
      if (this.live) this.live.stopping = false;
      this.failed(error);
    }
  }

  /** Another device may have taken back what waits here, or sent more. An older answer than the last says nothing. */
  private async readWaiting(): Promise<void> {
    const asked = (this.waitingAsked += 1);
    const waited = this.pending.queued.map(({ id }) => id);
    try {
      const { messages, active_task, steering = [] } = await api.getSession(this.sessionId, { signal: this.signal });
      const page = pageOf(messages, this.messages);
      const answered = await this.waitingAfter(page, active_task);
      if (asked !== this.waitingAsked) return;
      const shown = new Set(this.messages.map(({ id }) => id));
      this.pending.show(page.slice(answered).filter(({ id }) => !shown.has(id)), steering, new Set(waited));
    } catch (error) {
      this.failed(error);
    }
  }

  /** Nothing runs: the message and its answer are one request. Resolves when the server has it, or refused it. */
  private sendFirst(one: Pending): Promise<void> {
    const { id, text, files = [], model } = one;
    const message: UIMessage = { id, role: "user", parts: [...files, ...(text ? [{ type: "text" as const, text }] : [])] };
    const body = this.pending.optionsOf(id, model);
    // What follows its answer need not be there for it to go.
    if (!this.talk && !isOffline()) beginRequest(this.sessionId, message, body);
    return new Promise((resolve) => {
      this.accepted = resolve;
      this.sendingId = id;
      const turn = async () => {
        this.begin({ taskId: null, answerId: null, stopping: false });
        await this.chat.sendMessage(message, { body });
        await this.settle(one);
      };
      void this.loop(turn).finally(resolve);
    });
  }

  /** After the first request: was it taken? */
  private async settle(one: Pending): Promise<void> {
    const { id } = one;
    const taken = this.sendingId === id && this.accepted === null;
    this.accepted = null;
    if (taken) return this.over();
    this.chat.messages = this.chat.messages.filter((message) => message.id !== id);
    await this.pending.refused(one, this.refusal ?? new Problem("", { code: "UNREACHABLE" }));
  }

  private over(): void {
    if (!this.outcome()) return;
    if (this.live?.taskId) this.ended.add(this.live.taskId);
    this.host.onEnd();
  }

  // Answers and questions again

  regenerate(messageId: string): Promise<void> {
    return this.anew(() => this.chat.regenerate({ messageId, body: this.pending.optionsOf(messageId, this.model.name) }));
  }

  /** Put another question in the place of this one; what follows it goes. */
  edit(messageId: string, text: string): Promise<void> {
    return this.anew(async () => {
      const edited = this.chat.messages.find((message) => message.id === messageId);
      // With the files that it has.
      await this.chat.sendMessage({ text, messageId, files: edited ? filesOf(edited.parts) : [] }, { body: this.pending.optionsOf(messageId, this.model.name) });
      if (this.refusal && !this.live?.taskId) this.host.onReturn(text);
    });
  }

  /** What a person thinks of an answer; null: nothing any more. It is seen at once, and goes where it was not taken. */
  async rate(messageId: string, feedback: api.Feedback | null): Promise<void> {
    const before = dataOf(this.chat.messages.find((message) => message.id === messageId)!).feedback ?? null;
    this.set({ problem: null });
    this.setFeedback(messageId, feedback);
    try {
      await api.persist(() => api.giveFeedback(this.sessionId, messageId, feedback), { signal: this.signal, onWait: () => {}, tries: SEND_TRIES });
    } catch (error) {
      this.setFeedback(messageId, before);
      this.failed(error);
    }
  }

  private setFeedback(messageId: string, feedback: api.Feedback | null): void {
    this.chat.messages = withFeedback(this.chat.messages, messageId, feedback);
  }

  /** Whether the next history that is read may be another one from its beginning on. */
  private otherBranch = false;
  /** The message to which somebody has just gone, and which way: the buttons there get the focus. */
  arrival: { id: string; forth: boolean } | null = null;

  /** Show the branch of another message that may stand in the place of one. */
  async showBranch(messageId: string, forth: boolean): Promise<void> {
    if (this.looping) return;
    this.set({ problem: null });
    try {
      await this.insist(() => api.showBranch(this.sessionId, messageId));
      this.arrival = { id: messageId, forth };
      this.otherBranch = true;
      await this.refresh();
      await this.readUntil(messageId);
      this.host.onChange();
    } catch (error) {
      this.failed(error);
    }
  }

  private async anew(ask: () => Promise<void>): Promise<void> {
    if (this.looping) return;
    this.set({ problem: null });
    await this.loop(async () => {
      this.begin({ taskId: null, answerId: null, stopping: false });
      await ask();
      if (!this.live?.taskId && this.refusal) this.set({ problem: sentenceOf(this.refusal) });
      else this.over();
    });
  }

  /** Ask the server to end the turn that runs. What there is of the answer is kept. */
  async stop(): Promise<void> {
    const live = this.live;
    if (!live || live.stopping) return;
    live.stopping = true;
    this.line.stopping();
    if (live.taskId) await this.cancel(live, live.taskId);
  }

  /** Ask the server to end the tools of a message that run on. */
  async stopBackground(message: UIMessage): Promise<void> {
    const { taskId } = dataOf(message);
    try {
      if (taskId) await this.insist(() => api.cancelTask(taskId));
    } catch (error) {
      this.failed(error);
    }
  }

  private async cancel(live: Live, taskId: string): Promise<void> {
    try {
      await this.insist(() => api.cancelTask(taskId));
    } catch (error) {
      live.stopping = false;
      this.failed(error);
    }
  }

  /** A person's answer to a tool that asks first. With the last one its turn goes on. Throws the refusal. */
  async decide(messageId: string, toolCallId: string, approved: boolean, reason: string, onWait: (why: Said) => void): Promise<void> {
    const taskId = dataOf(this.chat.messages.find((message) => message.id === messageId)!).taskId ?? this.live?.taskId;
    if (!taskId) return;
    const retry = { signal: this.signal, onWait: (problem: Problem) => onWait(whyNot(problem)), tries: SEND_TRIES };
    this.set({ problem: null });
    try {
      const { status } = await api.persist(() => api.answerApproval(taskId, toolCallId, approved, reason), retry);
      this.chat.messages = withApproval(this.chat.messages, messageId, toolCallId, { approved, ...(reason && { reason }) });
      this.host.onChange();
      if (status === "accepted") void this.refresh();
      else if (!this.live) this.setLive(null);
    } catch (error) {
      if (error instanceof Problem && [404, 409, 410].includes(error.status)) void this.refresh();
      throw error;
    }
  }

  tell(problem: Said | null): void {
    this.set({ problem });
  }

  // What is older

  /** The page before the first message. */
  showOlder(): Promise<void> {
    return this.earlier.next();
  }

  /** From its first message on. False: not all of it could be read, which is told. */
  showAll(): Promise<boolean> {
    return this.earlier.all();
  }

  /** Bring a message into sight, however far back it stands; null: none. */
  seek(messageId: string | null): void {
    this.set({ sought: messageId });
    if (this.state.loaded) void this.readUntil(messageId);
  }

  /** It is in sight. */
  found(): void {
    this.set({ sought: null });
  }

  private async readUntil(messageId: string | null): Promise<void> {
    if (messageId !== null) await this.earlier.until(messageId);
  }

  // For its parts

  private watched(): Watched {
    const conversation = this;
    return {
      get stopping() {
        return conversation.live?.stopping ?? false;
      },
      get hasBegun() {
        return conversation.hasBegun;
      },
      show: (said) => this.say(said),
    };
  }

  private shown(): Shown {
    const conversation = this;
    return {
      sessionId: this.sessionId,
      signal: this.signal,
      get messages() {
        return conversation.messages;
      },
      set messages(messages) {
        conversation.chat.messages = messages;
      },
      get hasOlder() {
        return conversation.state.hasOlder;
      },
      set hasOlder(hasOlder) {
        conversation.set({ hasOlder });
      },
      insist: (action) => this.insist(action),
      failed: (error) => this.failed(error),
    };
  }

  private addressee(): Addressee {
    const conversation = this;
    return {
      sessionId: this.sessionId,
      signal: this.signal,
      get exists() {
        return conversation.state.exists;
      },
      get busy() {
        return conversation.looping || conversation.signal.aborted;
      },
      get model() {
        return conversation.model.name;
      },
      ask: (one) => this.sendFirst(one),
      changed: (pending) => this.set({ pending }),
      returned: (text, files) => {
        this.host.onReturn(text, files);
        if (!this.state.exists && this.pending.list.length === 0) this.host.onUnbegun();
      },
      delivered: () => this.host.onChange(),
      refresh: () => this.refresh(),
      tell: (problem) => this.set({ problem }),
      failed: (error) => this.failed(error),
      insist: (action) => this.insist(action),
    };
  }
}
