// What stands before the messages that are shown: pages of the history, which are read when somebody scrolls towards
// them, looks for a message, prints or saves.

import type { UIMessage } from "ai";
import { getSession, type SessionDetail } from "../client/api.ts";
import { sleep } from "../client/waiting.ts";
import { pageOf, sequenceOf } from "./history.ts";

// Messages of a page that is put before the others, and the time in which those before them are drawn.
const AT_ONCE = 2;
const PAUSE_MS = 20;
// Where somebody waits for all of them and does not scroll meanwhile.
const ALL_AT_ONCE = 50;

/** The conversation whose messages they are put before. */
export interface Shown {
  readonly sessionId: string;
  readonly signal: AbortSignal;
  messages: UIMessage[];
  hasOlder: boolean;
  insist<T>(action: () => Promise<T>): Promise<T>;
  failed(error: unknown): void;
}

export class EarlierMessages {
  private readonly shown: Shown;
  private reading: Promise<void> | null = null;

  constructor(shown: Shown) {
    this.shown = shown;
  }

  /** The page before the first message. Who asks while it is read waits for it. */
  next(atOnce = AT_ONCE): Promise<void> {
    const first = this.shown.messages[0];
    if (!this.shown.hasOlder || !first) return Promise.resolve();
    this.reading ??= this.read(first, atOnce).finally(() => (this.reading = null));
    return this.reading;
  }

  /** From its first message on. False: not all of it could be read, which is told. */
  async all(): Promise<boolean> {
    await this.readWhile(() => true);
    return !this.shown.hasOlder;
  }

  /** Until this one is there, as far as it is anywhere; null: none is looked for. */
  async until(messageId: string | null): Promise<void> {
    if (messageId !== null) await this.readWhile(() => !this.shown.messages.some((message) => message.id === messageId));
  }

  /** Ends as well where nothing more could be read. */
  private async readWhile(wanted: () => boolean): Promise<void> {
    for (let count = -1; this.shown.hasOlder && count !== this.shown.messages.length && wanted(); ) {
      count = this.shown.messages.length;
      await this.next(ALL_AT_ONCE);
    }
  }

  private async read(first: UIMessage, atOnce: number): Promise<void> {
    const { sessionId, signal } = this.shown;
    try {
      const page: SessionDetail = await this.shown.insist(() => getSession(sessionId, { before: sequenceOf(first), signal }));
      const known = new Set(this.shown.messages.map((message) => message.id));
      const older = pageOf(page.messages, []).filter((message) => !known.has(message.id));
      if (await this.putBefore(older, atOnce)) this.shown.hasOlder = page.has_more && older.length > 0;
    } catch (error) {
      this.shown.failed(error);
    }
  }

  /** A few in a frame, the newest first: the page never stands still for them. False: another branch has come meanwhile. */
  private async putBefore(older: UIMessage[], atOnce: number): Promise<boolean> {
    const { shown } = this;
    for (let end = older.length, first = shown.messages[0]?.id; end > 0; end -= atOnce) {
      if (shown.messages[0]?.id !== first) return false;
      shown.messages = [...older.slice(Math.max(0, end - atOnce), end), ...shown.messages];
      first = shown.messages[0]!.id;
      if (end > atOnce) await sleep(PAUSE_MS, shown.signal);
    }
    return true;
  }
}
