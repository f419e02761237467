// The list of conversations, newest first, by days.

import { listSessions, type Session } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { sleep } from "../client/waiting.ts";
import { firstWords } from "../message/names.ts";
import { recall, remember } from "../storage.ts";
import type { Words } from "../words/words.ts";

const STORED = "sluiceway.first-words";
const MOST_STORED = 300;
const TITLE_LOOKS = [1, 3, 9];

export const addressOf = (sessionId: string): string => `#/c/${encodeURIComponent(sessionId)}`;

/** The conversation that an address names, or null. */
export function sessionIn(hash: string): string | null {
  try {
    const match = /^#\/c\/([^/]+)$/.exec(hash);
    return match && decodeURIComponent(match[1]!);
  } catch {
    return null;
  }
}

export interface ListState {
  sessions: readonly Session[];
  hasMore: boolean;
  loaded: boolean;
}

export class SessionList {
  private state: ListState = { sessions: [], hasMore: false, loaded: false };
  private cursor: string | null = null;
  private words = new Map(recall<[string, string][]>(STORED, []));
  private readonly listeners = new Set<() => void>();
  private readonly removed = new Set<string>();
  private readonly toldTitles = new Map<string, string>();
  private loadingMore = false;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): ListState => this.state;

  private set(change: Partial<ListState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  /** Read the first page again. Older pages that were read stay. */
  async refresh(): Promise<void> {
    try {
      const page = await listSessions();
      const fresh = new Set(page.sessions.map((session) => session.id));
      const older = this.cursor === null ? [] : this.state.sessions.filter((session) => !fresh.has(session.id));
      if (this.cursor === null) this.cursor = page.next_cursor;
      this.show([...page.sessions, ...older]);
    } catch (error) {
      // What passes by itself is told where the conversation waits for it.
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
      this.set({ loaded: true });
    }
  }

  /** A title may be ready some moments after the first answer: look again, a few times. */
  async refreshUntilTitled(sessionId: string): Promise<void> {
    await this.refresh();
    for (const seconds of TITLE_LOOKS) {
      const session = this.state.sessions.find((one) => one.id === sessionId);
      if (!session || session.title !== null) return;
      await sleep(seconds * 1000);
      await this.refresh();
    }
  }

  async showMore(): Promise<void> {
    if (this.loadingMore || !this.cursor) return;
    this.loadingMore = true;
    try {
      const page = await listSessions(this.cursor);
      const known = new Set(this.state.sessions.map((session) => session.id));
      this.cursor = page.next_cursor;
      this.show([...this.state.sessions, ...page.sessions.filter((session) => !known.has(session.id))]);
    } catch {
      // The end of the list stays in sight, and asks again when it is scrolled to.
    } finally {
      this.loadingMore = false;
    }
  }

  /** A page that was asked for before a title was told has none, and a title may be told before the first page is there. */
  private show(sessions: Session[]): void {
    const titled = sessions.map((session) => ({ ...session, title: session.title ?? this.toldTitles.get(session.id) ?? null }));
    this.set({ sessions: titled.filter((session) => !this.removed.has(session.id)), hasMore: this.cursor !== null, loaded: true });
  }

  /** Out of sight. It is the caller who has it deleted. */
  hide(sessionId: string): void {
    this.removed.add(sessionId);
    this.set({ sessions: this.state.sessions.filter((session) => session.id !== sessionId) });
  }

  unhide(sessionId: string): Promise<void> {
    this.removed.delete(sessionId);
    return this.refresh();
  }

  renamed(sessionId: string, title: string): void {
    this.toldTitles.set(sessionId, title);
    this.set({ sessions: this.state.sessions.map((session) => (session.id === sessionId ? { ...session, title } : session)) });
  }

  /** The first words of conversations that have no title yet. */
  keepWords(sessionId: string, text: string): void {
    const words = firstWords(text);
    if (!words || this.words.get(sessionId) === words) return;
    this.words = new Map([...this.words, [sessionId, words] as const].slice(-MOST_STORED));
    remember(STORED, [...this.words]);
    this.set({});
  }

  titleOf(session: Pick<Session, "id" | "title"> & { created_at?: string }): string {
    return session.title ?? this.words.get(session.id) ?? (session.created_at ? dated(session.created_at) : "");
  }
}

const dated = (time: string): string => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** By the day on which something was last said. */
export function byDay(sessions: readonly Session[], words: Words, now = new Date()): [string, Session[]][] {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const day = 86_400_000;
  const groupOf = ({ updated_at }: Session) => {
    const at = new Date(updated_at).getTime();
    if (at >= today) return words.today;
    if (at >= today - day) return words.yesterday;
    return at >= today - 7 * day ? words.lastWeek : words.earlier;
  };
  const groups = new Map<string, Session[]>();
  for (const session of sessions) {
    const name = groupOf(session);
    groups.set(name, [...(groups.get(name) ?? []), session]);
  }
  return [...groups];
}
