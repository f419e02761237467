// Messages that are not among the chat's: on their way, refused, or waiting for the turn before them; and what can be
// done with them.
//
// They are delivered one after the other, so that they arrive in the order in which they were written. What waits may
// have been sent by another device, or taken back on it.

import type { UIMessage } from "ai";
import * as api from "../client/api.ts";
import { newId } from "../client/ids.ts";
import { Problem } from "../client/problem.ts";
import { isOffline, untilOnline } from "../client/waiting.ts";
import { sentenceOf, type Said } from "../words/words.ts";
import { bringsResults, filesOf, textOf } from "./history.ts";
import { keepUnsent, unsentOf, type Attachment, type Outgoing } from "./outbox.ts";
import { whyNot } from "./statusLine.ts";

export const SEND_TRIES = 5;

export interface Pending extends Outgoing {
  state: "sending" | "queued" | "refused";
  notice: Said | null;
  /** Whether sending it again can help. */
  passing: boolean;
  /** It was not sent as no server was there: it is when one is. */
  unreached?: boolean;
  /** It was refused for the day's budget; sending it again says to go on all the same. */
  overBudget?: boolean;
}

/** The conversation that they are for. */
export interface Addressee {
  readonly sessionId: string;
  readonly signal: AbortSignal;
  /** The server has it. */
  readonly exists: boolean;
  readonly temporary: boolean;
  /** A turn runs, or it was left: a message is posted by itself, and not with its answer. Not the first, which makes it. */
  readonly busy: boolean;
  readonly model: string;
  /** Deliver it and follow its answer. Resolves when the server has it, or refused it. */
  ask(one: Pending): Promise<void>;
  changed(list: readonly Pending[]): void;
  /** It is back in the box. */
  returned(text: string, files?: readonly Attachment[]): void;
  /** The server has one more. */
  delivered(): void;
  refresh(): Promise<void>;
  tell(problem: Said | null): void;
  failed(error: unknown): void;
  insist<T>(action: () => Promise<T>): Promise<T>;
}

const queuedOf = (message: UIMessage, steers: boolean): Pending => ({
  id: message.id,
  text: textOf(message),
  files: filesOf(message.parts),
  state: "queued",
  notice: (words) => (steers ? words.steering : words.queued),
  passing: true,
});

const outgoing = ({ id, text, files, model }: Outgoing): Outgoing => ({ id, text, ...(files && files.length > 0 && { files }), ...(model && { model }) });

export class PendingMessages {
  list: readonly Pending[];
  private readonly to: Addressee;
  private deliveries: Promise<void> = Promise.resolve();
  /** Those that a person sends although the day's budget is used up. */
  private readonly overBudget = new Set<string>();
  /** Those that waited, and were taken back. */
  private readonly withdrawn = new Set<string>();

  constructor(to: Addressee) {
    this.to = to;
    this.list = unsentOf(to.sessionId).map((one) => ({ ...one, state: "sending", notice: null, passing: true }));
  }

  private set(list: readonly Pending[]): void {
    this.list = list;
    this.keep();
    this.to.changed(list);
  }

  /** Also what was refused for now: after a reload it is sent again. */
  private keep(): void {
    const { sessionId, exists, temporary } = this.to;
    const messages = this.list.filter((one) => one.state !== "queued").map(outgoing);
    keepUnsent(sessionId, { isNew: !exists, ...(temporary && { temporary }), messages });
  }

  of(id: string): Pending | undefined {
    return this.list.find((one) => one.id === id);
  }

  get queued(): Pending[] {
    return this.list.filter(({ state }) => state === "queued");
  }

  drop(id: string | null): void {
    this.set(this.list.filter((one) => one.id !== id));
  }

  private mark(id: string, change: Partial<Pending>): void {
    this.set(this.list.map((one) => (one.id === id ? { ...one, ...change } : one)));
  }

  /** What waits on the server now. `steering`: those of them that are to enter the turn that runs. `known`: what else of
   * these is none any more. */
  show(waiting: UIMessage[], steering: readonly string[], known: ReadonlySet<string>): void {
    const mine = waiting.filter((message) => !bringsResults(message) && !this.withdrawn.has(message.id));
    const before = new Map(this.queued.map((one) => [one.id, one]));
    const queued = mine.map((message) => before.get(message.id) ?? queuedOf(message, steering.includes(message.id)));
    const over = new Set([...known, ...mine.map(({ id }) => id)]);
    this.set([...queued, ...this.list.filter(({ id }) => !over.has(id))]);
  }

  // On their way

  send(text: string, { policy, files = [] }: { policy?: api.Policy; files?: readonly Attachment[] }): void {
    const one: Pending = { ...outgoing({ id: newId(), text, files, model: this.to.model }), state: "sending", notice: null, passing: true };
    this.set([...this.list, one]);
    this.to.tell(null);
    this.enqueue(one.id, policy);
  }

  sendAgain(id: string): void {
    if (this.of(id)?.overBudget) this.overBudget.add(id);
    this.mark(id, { state: "sending", notice: null, unreached: false });
    this.enqueue(id);
  }

  /** Those that have found no server, now that there is one. */
  sendUnreached(): void {
    for (const one of this.list) if (one.unreached) this.sendAgain(one.id);
  }

  /** Those that were written before. */
  sendAll(): void {
    for (const one of this.list) if (one.state === "sending") this.enqueue(one.id);
  }

  private enqueue(id: string, policy?: api.Policy): void {
    this.deliveries = this.deliveries.then(() => this.deliver(id, policy));
  }

  private async deliver(id: string, policy?: api.Policy): Promise<void> {
    if (isOffline()) {
      this.mark(id, { notice: (words) => words.willBeSent });
      await untilOnline();
      // Who has left it may have it open anew, with more to send.
      if (!this.to.signal.aborted) this.mark(id, { notice: null });
    }
    const one = this.of(id);
    if (one?.state !== "sending") return;
    if (this.to.busy) await this.post(one, policy);
    else await this.to.ask(one);
  }

  /** While a turn runs: the message waits on the server, and is answered behind it, or at once where only tools run. */
  private async post(one: Pending, policy?: api.Policy): Promise<void> {
    const { id, text, files = [], model } = one;
    const more = { ...this.optionsOf(id, model), ...(files.length > 0 && { files: files.map(({ url }) => ({ url })) }) };
    const onWait = (problem: Problem) => this.mark(id, { notice: (words) => words.waits(whyNot(problem)(words)) });
    try {
      const { position } = await api.persist(() => api.postMessage(this.to.sessionId, id, text, policy, more), { onWait, tries: SEND_TRIES });
      const steers = policy === "steer";
      this.mark(id, { state: "queued", notice: position > 0 ? (words) => (steers ? words.steering : words.queued) : null });
      this.to.delivered();
      void this.to.refresh();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.refused(one, error);
    }
  }

  /** What it is sent with. */
  optionsOf(id: string, model: string | undefined = undefined): api.MessageOptions {
    return { ...(this.overBudget.has(id) && { over_budget: true }), ...(model && { model }) };
  }

  async refused(one: Pending, refusal: Problem): Promise<void> {
    const { id } = one;
    const problem = await api.withLimit(refusal);
    // Who comes back to it has it sent once more: it is still kept.
    if (this.to.signal.aborted) return;
    const why = sentenceOf(problem);
    const unreached = problem.status === 0;
    const notice: Said = (words) => (unreached ? words.notSentYet : words.notSent(why(words)));
    const change = { state: "refused" as const, notice, passing: problem.passing, unreached, overBudget: problem.mayGoOn };
    if (this.of(id)) this.mark(id, change);
    else this.set([...this.list, { ...outgoing(one), ...change }]);
    if (!problem.passing && !problem.mayGoOn) {
      this.takeBack(id);
      this.to.tell(notice);
    }
  }

  // Taken back

  /** Back into the box with it. */
  takeBack(id: string): void {
    const one = this.of(id);
    this.drop(id);
    if (one) this.to.returned(one.text, one.files);
  }

  /** A message that waits is told to no model; `edit`: it is back in the box then. Where its answer has begun, that is said. */
  async withdraw(id: string, edit: boolean): Promise<void> {
    const one = this.of(id);
    if (one?.state !== "queued" || this.withdrawn.has(id)) return;
    this.withdrawn.add(id);
    try {
      await this.to.insist(() => api.takeMessageBack(this.to.sessionId, id));
    } catch (error) {
      this.withdrawn.delete(id);
      if (!(error instanceof Problem) || error.status !== 409) return this.to.failed(error);
      this.to.tell((words) => words.begunMeanwhile);
      return void this.to.refresh();
    }
    this.drop(id);
    if (edit) this.to.returned(one.text, one.files);
  }
}
