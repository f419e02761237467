// One conversation: its history, the turn that runs, sending, stopping.
//
// The server's history is the truth. While a turn runs, `useChat` builds its answer from the stream; when it has ended
// the history is read again, which also finds the next turn that waits. One loop does all of that, so that never two
// streams write into the chat.

import type { Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import * as api from "../client/api.ts";
import type { Chunk } from "../client/chunks.ts";
import { newId } from "../client/ids.ts";
import { isAbort, Problem } from "../client/problem.ts";
import type { Listener } from "../client/transport.ts";
import { backoffMs, isOffline, sleep } from "../client/waiting.ts";
import { sentenceOf, type Said } from "../words/words.ts";
import { BackgroundTurns } from "./background.ts";
import { bringsResults, dataOf, filesOf, pageOf, sequenceOf, textOf, trailing, waitingFrom } from "./history.ts";
import { chosenModel, keepModel, latestModel } from "./models.ts";
import { keepUnsent, unsentOf, type Attachment, type Outgoing } from "./outbox.ts";
import { Silence } from "./silence.ts";
import { Teller } from "./status.ts";
import type { Talk } from "./talk.ts";
import { talking, talkingNow } from "./talking.ts";

const SEND_TRIES = 5;
// Messages of a page that is put before the others, and the time in which those before them are drawn.
const OLDER_AT_ONCE = 5;
const OLDER_PAUSE_MS = 50;
// Where somebody waits for all of them and does not scroll meanwhile.
const ALL_AT_ONCE = 50;

/** A message that is not among the chat's: on its way, refused, or waiting for the turn before it. */
export interface Pending extends Outgoing {
  state: "sending" | "queued" | "refused";
  notice: Said | null;
  /** Whether sending it again can help. */
  passing: boolean;
  /** It was refused for the day's budget; sending it again says to go on all the same. */
  overBudget?: boolean;
}

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

const queuedOf = (message: UIMessage): Pending => ({
  id: message.id,
  text: textOf(message),
  files: filesOf(message.parts),
  state: "queued",
  notice: (words) => words.queued,
  passing: true,
});

const outgoing = ({ id, text, files, model }: Outgoing): Outgoing => ({ id, text, ...(files && files.length > 0 && { files }), ...(model && { model }) });

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
  private teller = new Teller();
  /** The status says what the turn waits for: a tool, a person, its model, its place in the queue. */
  private awaited = false;
  private readonly silence = new Silence(() => this.tellSilence(), () => this.sayState());
  private deliveries: Promise<void> = Promise.resolve();
  private readonly ended = new Set<string>();
  private started: string[] = [];
  private readonly background: BackgroundTurns;
  /** Messages that a person sends although the day's budget is used up. */
  private readonly overBudget = new Set<string>();
  /** Messages that waited, and were taken back. */
  private readonly withdrawn = new Set<string>();
  /** How often it was asked what waits. */
  private waitingAsked = 0;
  private offered: readonly string[] | null = null;

  /** `isNew`: the server does not know it yet. */
  constructor(sessionId: string, isNew: boolean, host: Host) {
    this.sessionId = sessionId;
    this.host = host;
    this.state = {
      chat: null, exists: !isNew, loaded: isNew, running: false, answerId: null, status: null, problem: null,
      pending: unsentOf(this.sessionId).map((one) => ({ ...one, state: "sending", notice: null, passing: true })),
      hasOlder: false, title: null, background: [], sought: null,
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
    const onWait = (problem: Problem) => this.say((words) => words.waits(this.why(problem)(words)));
    this.preparing ??= this.talk ? Promise.resolve() : api.persist(talking, { onWait }).then(({ makeTalk }) => this.begun(makeTalk));
    return this.preparing;
  }

  private begun(make: (sessionId: string, listener: Listener, onError: (error: Error) => void) => Talk): void {
    const listener: Listener = {
      onAccepted: (taskId) => this.onAccepted(taskId),
      onChunk: (chunk) => this.onChunk(chunk),
      onState: (state, problem) => this.onState(state, problem),
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
    if (change.pending) this.keepUnsent();
    for (const listener of this.listeners) listener();
  }

  private keepUnsent(): void {
    const messages = this.state.pending.filter((one) => one.state === "sending").map(outgoing);
    keepUnsent(this.sessionId, { isNew: !this.state.exists, messages });
  }

  // Its life

  open(): void {
    void this.prepare();
    if (this.state.exists) void this.refresh();
    for (const one of this.state.pending) if (one.state === "sending") this.enqueue(one.id);
  }

  /** Leave it. What runs on the server runs on, and so does what is being sent. */
  close(): void {
    this.leaving.abort(new DOMException("The conversation was left.", "AbortError"));
    if (!this.accepted) void this.talk?.chat.stop();
  }

  private get signal(): AbortSignal {
    return this.leaving.signal;
  }

  /** Read the history and follow what runs, until nothing does. */
  refresh(): Promise<void> {
    return this.loop();
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
      if (!this.signal.aborted) this.setLive(null);
    }
  }

  private failed(error: unknown): void {
    if (this.signal.aborted || isAbort(error)) return;
    if (!(error instanceof Problem)) throw error;
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
    this.show([...older, ...page.slice(0, count)], page.slice(count));
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

  private show(messages: UIMessage[], waiting: UIMessage[]): void {
    const known = new Set([...messages, ...waiting].map((message) => message.id));
    this.chat.messages = this.background.applied(messages);
    this.set({ pending: [...this.queued(waiting), ...this.state.pending.filter((one) => !known.has(one.id))] });
  }

  /** What waits on the server, as it is known here; what another device has sent is new. */
  private queued(waiting: UIMessage[]): Pending[] {
    const mine = waiting.filter((message) => !bringsResults(message) && !this.withdrawn.has(message.id));
    return mine.map((message) => (this.pendingOf(message.id)?.state === "queued" ? this.pendingOf(message.id)! : queuedOf(message)));
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
    const onWait = (problem: Problem) => this.say((words) => words.waits(this.why(problem)(words)));
    return api.persist(action, { signal: this.signal, onWait });
  }

  private why(problem: Problem): Said {
    return isOffline() ? (words) => words.offline : sentenceOf(problem);
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
    this.teller = new Teller();
    this.awaited = false;
    this.setLive(live);
    if (!live.stopping) this.say((words) => words.waitingForAnswer);
  }

  private setLive(live: Live | null): void {
    this.live = live;
    this.set({ running: live !== null, answerId: live?.answerId ?? null });
    if (live) this.silence.begin();
    else this.silence.end();
    if (!live) this.say(this.asksForApproval ? (words) => words.approvalWanted : null);
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
    this.set({ exists: true, pending: this.state.pending.filter((one) => one.id !== this.sendingId) });
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
    this.silence.heard();
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
    const said = this.teller.said(chunk);
    if (said && !this.live?.stopping) this.say(said);
    if (said) this.awaited = !["reasoning-start", "text-start", "reset-step"].includes(chunk.type);
  }

  private onState(state: "open" | "waiting" | "lost", problem?: Problem): void {
    const why: Said = problem?.status ? sentenceOf(problem) : (words) => (isOffline() ? words.offline : words.connectionLost);
    if (state === "lost") this.say((words) => words.reconnecting(why(words)));
    else if (state === "waiting" && problem) this.say((words) => words.waits(this.why(problem)(words)));
    else this.sayState();
  }

  private sayState(): void {
    if (!this.live?.stopping) this.say(this.hasBegun ? (words) => words.answering : (words) => words.waitingForAnswer);
  }

  /** Where it is told already what is waited for, that is it. */
  private tellSilence(): void {
    if (this.live && !this.live.stopping && !this.awaited) this.say((words) => words.stillThere);
  }

  private get hasBegun(): boolean {
    const last = this.messages.at(-1);
    return last?.role === "assistant" && last.id === this.live?.answerId && last.parts.length > 0;
  }

  // Sending

  /** Messages are delivered one after the other, so that they arrive in the order in which they were written. */
  send(text: string, { policy, files = [] }: { policy?: api.Policy; files?: readonly Attachment[] } = {}): void {
    const one: Pending = { ...outgoing({ id: newId(), text, files, model: this.model }), state: "sending", notice: null, passing: true };
    this.set({ pending: [...this.state.pending, one], problem: null });
    this.enqueue(one.id, policy);
  }

  sendAgain(id: string): void {
    if (this.pendingOf(id)?.overBudget) this.overBudget.add(id);
    this.mark(id, { state: "sending", notice: null });
    this.enqueue(id);
  }

  /** Back into the box with it. */
  takeBack(id: string): void {
    const one = this.pendingOf(id);
    this.set({ pending: this.state.pending.filter((other) => other.id !== id) });
    if (one) this.host.onReturn(one.text, one.files);
    if (!this.state.exists && this.state.pending.length === 0) this.host.onUnbegun();
  }

  /** A message that waits is told to no model; `edit`: it is back in the box then. Where its answer has begun, that is said. */
  async withdraw(id: string, edit: boolean): Promise<void> {
    const one = this.pendingOf(id);
    if (one?.state !== "queued" || this.withdrawn.has(id)) return;
    this.withdrawn.add(id);
    try {
      await this.insist(() => api.takeMessageBack(this.sessionId, id));
    } catch (error) {
      this.withdrawn.delete(id);
      if (!(error instanceof Problem) || error.status !== 409) return this.failed(error);
      this.set({ problem: (words) => words.begunMeanwhile });
      return void this.refresh();
    }
    this.set({ pending: this.state.pending.filter((other) => other.id !== id) });
    if (edit) this.host.onReturn(one.text, one.files);
  }

  /** What waits goes back into the box, and what runs is ended. The newest first, so that none of them begins meanwhile. */
  async stopAll(): Promise<void> {
    if (this.live) this.live.stopping = true;
    this.say((words) => words.stopping);
    for (const one of this.state.pending.filter(({ state }) => state === "queued").reverse()) await this.withdraw(one.id, true);
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
    const waited = new Set(this.state.pending.filter(({ state }) => state === "queued").map(({ id }) => id));
    try {
      const { messages, active_task } = await api.getSession(this.sessionId, { signal: this.signal });
      const page = pageOf(messages, this.messages);
      const answered = await this.waitingAfter(page, active_task);
      if (asked !== this.waitingAsked) return;
      const shown = new Set(this.messages.map(({ id }) => id));
      const queued = this.queued(page.slice(answered)).filter(({ id }) => !shown.has(id));
      for (const { id } of queued) waited.add(id);
      this.set({ pending: [...queued, ...this.state.pending.filter(({ id }) => !waited.has(id))] });
    } catch (error) {
      this.failed(error);
    }
  }

  private pendingOf(id: string): Pending | undefined {
    return this.state.pending.find((one) => one.id === id);
  }

  private mark(id: string, change: Partial<Pending>): void {
    this.set({ pending: this.state.pending.map((one) => (one.id === id ? { ...one, ...change } : one)) });
  }

  private enqueue(id: string, policy?: api.Policy): void {
    this.deliveries = this.deliveries.then(() => this.deliver(id, policy));
  }

  private async deliver(id: string, policy?: api.Policy): Promise<void> {
    const one = this.pendingOf(id);
    if (one?.state !== "sending") return;
    if (isOffline()) this.mark(id, { notice: (words) => words.willBeSent });
    if (this.looping || this.signal.aborted) await this.post(one, policy);
    else await this.sendFirst(one);
  }

  /** Nothing runs: the message and its answer are one request. Resolves when the server has it, or refused it. */
  private sendFirst(one: Pending): Promise<void> {
    const { id, text, files = [], model } = one;
    return new Promise((resolve) => {
      this.accepted = resolve;
      this.sendingId = id;
      const turn = async () => {
        this.begin({ taskId: null, answerId: null, stopping: false });
        await this.chat.sendMessage({ id, role: "user", parts: [...files, ...(text ? [{ type: "text" as const, text }] : [])] }, { body: this.bodyOf(id, model) });
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
    await this.refused(one, this.refusal ?? new Problem("", { code: "UNREACHABLE" }));
  }

  private over(): void {
    if (!this.outcome()) return;
    if (this.live?.taskId) this.ended.add(this.live.taskId);
    this.host.onEnd();
  }

  /** While a turn runs: the message waits on the server, and is answered behind it, or at once where only tools run. */
  private async post(one: Pending, policy?: api.Policy): Promise<void> {
    const { id, text, files = [], model } = one;
    const more = { ...this.bodyOf(id, model), ...(files.length > 0 && { files: files.map(({ url }) => ({ url })) }) };
    const onWait = (problem: Problem) => this.mark(id, { notice: (words) => words.waits(this.why(problem)(words)) });
    try {
      const { position } = await api.persist(() => api.postMessage(this.sessionId, id, text, policy, more), { onWait, tries: SEND_TRIES });
      const steers = policy === "steer";
      this.mark(id, { state: "queued", notice: position > 0 ? (words) => (steers ? words.steering : words.queued) : null });
      this.host.onChange();
      void this.refresh();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.refused(one, error);
    }
  }

  private bodyOf(id: string, model: string | undefined = undefined): api.MessageOptions {
    return { ...(this.overBudget.has(id) && { over_budget: true }), ...(model && { model }) };
  }

  /** Which model the next message asks for: the one that was chosen here, else that of the last answer, else the one
   * that was chosen last. "": the server's own choice. */
  get model(): string {
    const { offered } = this;
    const answered = this.messages.findLast((message) => message.role === "assistant");
    const wanted = [chosenModel(this.sessionId), offered && answered && dataOf(answered).model, latestModel()];
    return wanted.find((name): name is string => typeof name === "string" && (name === "" || !offered || offered.includes(name))) ?? "";
  }

  /** What there is to choose from. One that was chosen and is not among them is not asked for any more. */
  offerModels(models: readonly string[]): void {
    this.offered = models;
    this.set({});
  }

  chooseModel(name: string): void {
    keepModel(this.sessionId, name);
    this.set({});
  }

  private async refused(one: Pending, refusal: Problem): Promise<void> {
    const { id } = one;
    const problem = await api.withLimit(refusal);
    const why = sentenceOf(problem);
    if (this.signal.aborted) return keepUnsent(this.sessionId, { isNew: !this.state.exists, messages: [...unsentOf(this.sessionId), outgoing(one)] });
    const notice: Said = (words) => words.notSent(why(words));
    const change = { state: "refused" as const, notice, passing: problem.passing, overBudget: problem.mayGoOn };
    if (this.pendingOf(id)) this.mark(id, change);
    else this.set({ pending: [...this.state.pending, { ...outgoing(one), ...change }] });
    if (!problem.passing && !problem.mayGoOn) {
      this.takeBack(id);
      this.set({ problem: notice });
    }
  }

  // Answers and questions again

  regenerate(messageId: string): Promise<void> {
    return this.anew(() => this.chat.regenerate({ messageId, body: this.bodyOf(messageId, this.model) }));
  }

  /** Put another question in the place of this one; what follows it goes. */
  edit(messageId: string, text: string): Promise<void> {
    return this.anew(async () => {
      const edited = this.chat.messages.find((message) => message.id === messageId);
      // With the files that it has.
      await this.chat.sendMessage({ text, messageId, files: edited ? filesOf(edited.parts) : [] }, { body: this.bodyOf(messageId, this.model) });
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
    this.chat.messages = this.chat.messages.map((message) => {
      if (message.id !== messageId) return message;
      const { feedback: _, ...metadata } = dataOf(message);
      return { ...message, metadata: { ...metadata, ...(feedback && { feedback }) } };
    });
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
    this.say((words) => words.stopping);
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
    const retry = { signal: this.signal, onWait: (problem: Problem) => onWait(this.why(problem)), tries: SEND_TRIES };
    this.set({ problem: null });
    try {
      const { status } = await api.persist(() => api.answerApproval(taskId, toolCallId, approved, reason), retry);
      this.answered(messageId, toolCallId, approved, reason);
      this.host.onChange();
      if (status === "accepted") void this.refresh();
      else if (!this.live) this.setLive(null);
    } catch (error) {
      if (error instanceof Problem && [404, 409, 410].includes(error.status)) void this.refresh();
      throw error;
    }
  }

  private answered(messageId: string, toolCallId: string, approved: boolean, reason: string): void {
    this.chat.messages = this.chat.messages.map((message) =>
      message.id !== messageId
        ? message
        : {
            ...message,
            parts: message.parts.map((part) =>
              "toolCallId" in part && part.toolCallId === toolCallId
                ? ({ ...part, state: "approval-responded", approval: { ...part.approval, approved, ...(reason && { reason }) } } as typeof part)
                : part,
            ),
          },
    );
  }

  tell(problem: Said | null): void {
    this.set({ problem });
  }

  // What is older

  private loadingOlder: Promise<void> | null = null;

  /** The page before the first message. Who asks while it is read waits for it. */
  showOlder(atOnce = OLDER_AT_ONCE): Promise<void> {
    if (!this.state.hasOlder || !this.messages[0]) return Promise.resolve();
    this.loadingOlder ??= this.readOlder(this.messages[0], atOnce).finally(() => (this.loadingOlder = null));
    return this.loadingOlder;
  }

  /** From its first message on. False: not all of it could be read, which is told. */
  async showAll(): Promise<boolean> {
    await this.readWhile(() => true);
    return !this.state.hasOlder;
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
    if (messageId !== null) await this.readWhile(() => !this.messages.some((message) => message.id === messageId));
  }

  /** Ends as well where nothing more could be read. */
  private async readWhile(wanted: () => boolean): Promise<void> {
    for (let count = -1; this.state.hasOlder && count !== this.messages.length && wanted(); ) {
      count = this.messages.length;
      await this.showOlder(ALL_AT_ONCE);
    }
  }

  private async readOlder(first: UIMessage, atOnce: number): Promise<void> {
    try {
      const page = await this.insist(() => api.getSession(this.sessionId, { before: sequenceOf(first), signal: this.signal }));
      const known = new Set(this.chat.messages.map((message) => message.id));
      const older = pageOf(page.messages, []).filter((message) => !known.has(message.id));
      if (await this.putBefore(older, atOnce)) this.set({ hasOlder: page.has_more && older.length > 0 });
    } catch (error) {
      this.failed(error);
    }
  }

  /** A few in a frame, the newest first: the page never stands still for them. False: another branch has come meanwhile. */
  private async putBefore(older: UIMessage[], atOnce: number): Promise<boolean> {
    for (let end = older.length, first = this.messages[0]?.id; end > 0; end -= atOnce) {
      if (this.messages[0]?.id !== first) return false;
      this.chat.messages = [...older.slice(Math.max(0, end - atOnce), end), ...this.chat.messages];
      first = this.messages[0]!.id;
      if (end > atOnce) await sleep(OLDER_PAUSE_MS, this.signal);
    }
    return true;
  }
}
