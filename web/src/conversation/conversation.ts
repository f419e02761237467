// One conversation: opened, followed, spoken to, stopped, left. Each of its parts has a module of its own.
//
// The server's history is the truth. While a turn runs, `useChat` builds its answer from the stream; when it has ended
// the history is read again, which also finds the next turn that waits (following.ts).

import type { UIMessage } from "ai";
import * as api from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import type { Listener } from "../client/transport.ts";
import type { Said } from "../words/words.ts";
import { Asking } from "./asking.ts";
import { EarlierMessages } from "./earlier.ts";
import { Following } from "./following.ts";
import { dataOf } from "./history.ts";
import type { Host } from "./host.ts";
import { ModelChoice } from "./models.ts";
import type { Attachment } from "./outbox.ts";
import { PendingMessages, type Addressee } from "./pending.ts";
import { HistoryReading } from "./reading.ts";
import { ConversationState, type Snapshot } from "./state.ts";
import { talking, talkingNow } from "./talking.ts";
import { RunningTurn } from "./turn.ts";
import { Verdicts } from "./verdicts.ts";

type Program = NonNullable<ReturnType<typeof talkingNow>>;

export class Conversation {
  readonly sessionId: string;
  readonly pending: PendingMessages;
  /** Which model the next message asks for. */
  readonly model: ModelChoice;
  readonly verdicts: Verdicts;
  /** The message to which somebody has just gone, and which way: the buttons there get the focus. */
  arrival: { id: string; forth: boolean } | null = null;
  private readonly host: Host;
  private readonly state: ConversationState;
  private readonly turn: RunningTurn;
  private readonly earlier: EarlierMessages;
  private readonly history: HistoryReading;
  private readonly following: Following;
  private readonly asking: Asking;
  private preparing: Promise<void> | null = null;

  /** `isNew`: the server does not know it yet. `temporary`: and is to keep it for a short time only. */
  constructor(sessionId: string, isNew: boolean, temporary: boolean, host: Host) {
    this.sessionId = sessionId;
    this.host = host;
    const state = new ConversationState(sessionId, isNew, temporary, (problem) => this.turn.line.waits(problem), () => this.turn.answered());
    this.state = state;
    const turn = new RunningTurn(state, host);
    this.turn = turn;
    this.model = new ModelChoice(sessionId, () => state.messages, () => state.set({}));
    const pending = new PendingMessages(this.addressee());
    this.pending = pending;
    state.set({ pending: pending.list });
    this.earlier = new EarlierMessages(state);
    this.history = new HistoryReading(state, { turn, pending, earlier: this.earlier }, host);
    this.following = new Following(state, turn, this.history, host, () => this.prepare());
    this.asking = new Asking(state, { turn, pending, model: this.model, following: this.following }, host);
    this.verdicts = new Verdicts(state, turn, this.following, host);
    const program = talkingNow();
    if (program) this.begun(program);
  }

  private addressee(): Addressee {
    const { state, host } = this;
    const conversation = this;
    return {
      sessionId: this.sessionId,
      signal: state.signal,
      get exists() {
        return state.now.exists;
      },
      get temporary() {
        return state.now.temporary;
      },
      get busy() {
        return conversation.following.busy || (state.signal.aborted && state.now.exists);
      },
      get model() {
        return conversation.model.name;
      },
      ask: (one) => this.asking.sendFirst(one),
      changed: (pending) => state.set({ pending }),
      returned: (text, files) => {
        host.onReturn(text, files);
        if (!state.now.exists && this.pending.list.length === 0) host.onUnbegun();
      },
      delivered: () => host.onChange(),
      refresh: () => this.refresh(),
      tell: (problem) => state.tell(problem),
      failed: (error) => state.failed(error),
      insist: (action) => state.insist(action),
    };
  }

  // For React

  get subscribe(): (listener: () => void) => () => void {
    return this.state.subscribe;
  }

  get snapshot(): () => Snapshot {
    return this.state.snapshot;
  }

  get messages(): UIMessage[] {
    return this.state.messages;
  }

  tell(problem: Said | null): void {
    this.state.tell(problem);
  }

  /** Before its first message. */
  beTemporary(temporary: boolean): void {
    this.state.set({ temporary });
  }

  // The program that follows and shows it

  /** Once it is there, there is a chat. Left or not: what was written is sent. */
  private prepare(): Promise<void> {
    const onWait = (problem: Problem) => this.turn.line.waits(problem);
    this.preparing ??= this.state.talk ? Promise.resolve() : api.persist(talking, { onWait }).then((program) => this.prepared(program));
    return this.preparing;
  }

  private prepared(program: Program): void {
    this.begun(program);
    // Where it was long in coming, that is said no more.
    this.turn.answered();
  }

  private begun({ makeTalk, BackgroundTurns }: Program): void {
    const listener: Listener = {
      onAccepted: (taskId) => this.asking.onAccepted(taskId),
      onChunk: (chunk) => this.turn.heard(chunk),
      onState: (state, problem) => this.turn.line.connection(state, problem),
      before: () => this.continued,
    };
    this.state.talk = makeTalk(this.sessionId, listener, (error) => (this.turn.refusal = error instanceof Problem ? error : new Problem(error.message, { status: 400 })));
    this.history.background = new BackgroundTurns(this.state.signal, () => this.applyOutputs(), () => void this.refresh());
  }

  private get continued(): UIMessage | undefined {
    const last = this.messages.at(-1);
    return last?.role === "assistant" ? last : undefined;
  }

  private applyOutputs(): void {
    const messages = this.history.background!.applied(this.messages);
    if (messages.some((message, n) => message !== this.messages[n])) this.state.messages = messages;
  }

  // Its life

  open(): void {
    void this.prepare();
    void this.refresh().then(() => this.asking.editAgain());
    this.pending.sendAll();
  }

  /** Leave it. What runs on the server runs on, and so does what is being sent. */
  close(): void {
    this.state.leave();
    if (!this.asking.underWay) void this.state.talk?.chat.stop();
  }

  /** Read the history and follow what runs, until nothing does. */
  refresh(): Promise<void> {
    return this.following.refresh();
  }

  /** A turn of this conversation has started, here or elsewhere. */
  heardStart(taskId: string): void {
    this.following.heardStart(taskId);
  }

  /** A turn has ended. */
  heardEnd(taskId: string): void {
    this.following.heardEnd(taskId);
  }

  /** Another branch is shown, or nobody waits for an answer any more. */
  heardChange(): void {
    this.following.heardChange();
  }

  /** The server is there, perhaps again. */
  heardServer(): void {
    this.pending.sendUnreached();
  }

  // What is asked, and asked again

  send(text: string, how: { policy?: api.Policy; files?: readonly Attachment[] } = {}): void {
    this.pending.send(text, how);
  }

  regenerate(messageId: string): Promise<boolean> {
    return this.asking.regenerate(messageId);
  }

  /** Put another question in the place of this one; what follows it goes. Resolves when it is begun. False: it is not. */
  edit(messageId: string, text: string): Promise<boolean> {
    return this.asking.edit(messageId, text);
  }

  /** Show the branch of another message that may stand in the place of one. */
  showBranch(messageId: string, forth: boolean): Promise<boolean> {
    return this.following.act(async () => {
      this.tell(null);
      this.turn.show((words) => words.loading);
      await this.state.insist(() => api.showBranch(this.sessionId, messageId));
      this.arrival = { id: messageId, forth };
      this.history.otherBranch = true;
      this.history.wanted = messageId;
      this.host.onChange();
    });
  }

  // What is stopped

  /** Ask the server to end the turn that runs. What there is of the answer is kept. */
  stop(): Promise<void> {
    return this.turn.stop();
  }

  /** What waits goes back into the box, and what runs is ended. The newest first, so that none of them begins meanwhile. */
  stopAll(): Promise<void> {
    return this.turn.stopBy(async () => {
      for (const one of this.pending.queued.reverse()) await this.pending.withdraw(one.id, true);
      await this.state.insist(() => api.stopSession(this.sessionId));
    });
  }

  /** Ask the server to end the tools of a message that run on. */
  async stopBackground(message: UIMessage): Promise<void> {
    const { taskId } = dataOf(message);
    try {
      if (taskId) await this.state.insist(() => api.cancelTask(taskId));
    } catch (error) {
      this.state.failed(error);
    }
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
    this.state.set({ sought: messageId });
    if (this.state.now.loaded) void this.earlier.until(messageId);
  }

  /** The chat has as much of the first answer as was read before it was there. */
  caughtUp(): void {
    this.state.set({ early: "" });
  }

  /** It is in sight. */
  found(): void {
    this.state.set({ sought: null });
  }
}
