// The list of conversations: those that are pinned, the one pinned last first; then all others, newest first, by days.

import { listSessions, type Session } from "../client/api.ts";
import type { PersonEvent } from "../client/personEvents.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { serverNow } from "../client/serverClock.ts";
import { firstWords } from "../message/names.ts";
import { onChanged, recall, remember } from "../storage.ts";
import { locale, type Words } from "../words/words.ts";
import { dayBegan } from "./days.ts";
import { Unread } from "./unread.ts";

const STORED = "sluiceway.first-words";
const MOST_STORED = 300;
const MOST_ENDED = 500;

/** Of a conversation, or of one of its messages. */
export const addressOf = (sessionId: string, messageId?: string): string =>
  `#/c/${encodeURIComponent(sessionId)}${messageId === undefined ? "" : `/m/${encodeURIComponent(messageId)}`}`;

export const NEW = "#/";
/** Of a new conversation that is to be kept for a short time only. */
export const NEW_TEMPORARY = "#/temporary";

/** The conversation that an address names, or null. */
export const sessionIn = (hash: string): string | null => namedIn(hash, 1);
/** The message of it that an address names, or null. */
export const messageIn = (hash: string): string | null => namedIn(hash, 2);

function namedIn(hash: string, at: number): string | null {
  try {
    const name = /^#\/c\/([^/]+)(?:\/m\/([^/]+))?$/.exec(hash)?.[at];
    return name === undefined ? null : decodeURIComponent(name);
  } catch {
    return null;
  }
}

export type SessionState = "runs" | "needsYou" | "unread" | null;

export interface ListState {
  sessions: readonly Session[];
  /** Some of them may be among the others, too. */
  pinned: readonly Session[];
  hasMore: boolean;
  loaded: boolean;
}

export class SessionList {
  private state: ListState = { sessions: [], pinned: [], hasMore: false, loaded: false };
  private cursor: string | null = null;
  private words = new Map(recall<[string, string][]>(STORED, []));
  private readonly listeners = new Set<() => void>();
  /** What is out of sight, and where it would stand, as far as that is known. */
  private readonly removed = new Map<string, Session | undefined>();
  private readonly toldTitles = new Map<string, string>();
  private loadingMore = false;
  private reading: Promise<void> | null = null;
  private stale = false;
  /** What was heard while the list is read: the list may be older than that. */
  private meanwhile: PersonEvent[] | null = null;
  /** Turns that have ended do not start again. */
  private ended: string[] = [];
  private readonly unread = new Unread(() => this.set({}));

  constructor() {
    onChanged(STORED, () => {
      this.words = new Map(recall<[string, string][]>(STORED, []));
      this.set({});
    });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): ListState => this.state;

  private set(change: Partial<ListState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  /** Read the first page again. Older pages that were read stay. Who asks while it is read has it read once more. */
  refresh(): Promise<void> {
    this.stale = this.reading !== null;
    this.reading ??= this.readWhileStale().finally(() => (this.reading = null));
    return this.reading;
  }

  private async readWhileStale(): Promise<void> {
    do {
      this.stale = false;
      await this.read();
    } while (this.stale);
  }

  private async read(): Promise<void> {
    this.meanwhile = [];
    try {
      const page = await listSessions();
      const fresh = new Set(page.sessions.map((session) => session.id));
      const older = this.cursor === null ? [] : this.state.sessions.filter((session) => !fresh.has(session.id));
      if (this.cursor === null) this.cursor = page.next_cursor;
      // What of the older ones is pinned, and no longer, is told by that page, too.
      const pins = new Map((page.pinned ?? []).map((session) => [session.id, session.pinned_at]));
      this.set({ pinned: this.shown(page.pinned ?? []) });
      this.show([...page.sessions, ...older.map((session) => ({ ...session, pinned_at: pins.get(session.id) ?? null }))]);
    } catch (error) {
      // What passes by itself is told where the conversation waits for it.
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
      this.set({ loaded: true });
    } finally {
      const heard = this.meanwhile;
      this.meanwhile = null;
      for (const event of heard) this.apply(event);
    }
  }

  /** What became of a conversation, here or elsewhere. `seen`: somebody is looking at it. */
  hear(event: PersonEvent, seen: boolean): void {
    this.meanwhile?.push(event);
    const isEnd = event.type === "turn-ended" || event.type === "turn-needs-you";
    if (isEnd && !this.ended.includes(event.task_id)) {
      this.ended = [...this.ended, event.task_id].slice(-MOST_ENDED);
      if (!seen) this.unread.set(event.session_id, true);
    }
    this.apply(event);
  }

  private apply(event: PersonEvent): void {
    if (event.type === "ready") {
      // Nobody knows what was missed, on whatever page of the list.
      if (!event.resumed) {
        this.cursor = null;
        void this.refresh();
      }
      return;
    }
    const known = this.find(event.session_id);
    if (event.type === "session-deleted" || (event.type === "session-archived" && event.archived)) this.hide(event.session_id);
    else if (event.type === "session-archived") this.back(event.session_id);
    else if (event.type === "session-renamed") this.renamed(event.session_id, event.title);
    else if (event.type === "session-pinned") void this.refresh();
    else if (event.type === "turn-started") this.started(known, event.task_id);
    else if (known && event.type === "turn-needs-you") this.change(known, { active_task_id: null, awaits_you: true });
    else if (known && event.type === "turn-ended") this.over(known, event.task_id);
    else if (!known && !this.removed.has(event.session_id)) void this.refresh();
    else if (event.type === "session-changed") void this.refresh();
  }

  private back(sessionId: string): void {
    void this.unhide(sessionId);
    // On whatever page of the list it stands.
    if (!this.find(sessionId)) this.cursor = null;
  }

  private started(known: Session | undefined, taskId: string): void {
    if (this.ended.includes(taskId)) return;
    if (known) this.change(known, { active_task_id: taskId, awaits_you: false, updated_at: new Date(serverNow()).toISOString() }, true);
    else void this.refresh();
  }

  private over(known: Session, taskId: string): void {
    const active = known.active_task_id === taskId ? null : (known.active_task_id ?? null);
    this.change(known, { active_task_id: active, awaits_you: false });
    // Its title may have been told to nobody.
    if (known.title === null) void this.refresh();
  }

  private change(session: Session, change: Partial<Session>, first = false): void {
    const changed = { ...session, ...change };
    const others = this.state.sessions.filter((one) => one.id !== session.id);
    this.replace(session.id, () => changed);
    if (first) this.set({ sessions: [changed, ...others] });
  }

  private replace(sessionId: string, by: (session: Session) => Session): void {
    const changed = (sessions: readonly Session[]) => sessions.map((one) => (one.id === sessionId ? by(one) : one));
    this.set({ sessions: changed(this.state.sessions), pinned: changed(this.state.pinned) });
  }

  find(sessionId: string): Session | undefined {
    return [...this.state.sessions, ...this.state.pinned].find((session) => session.id === sessionId);
  }

  /** At once; where the server does not have it so, the list says so when it is read again. */
  pin(session: Session, pinned: boolean): void {
    const changed = { ...session, pinned_at: pinned ? new Date(serverNow()).toISOString() : null };
    const others = this.state.pinned.filter((one) => one.id !== session.id);
    this.replace(session.id, () => changed);
    this.set({ pinned: pinned ? [changed, ...others] : others });
  }

  /** Somebody looks at it. */
  look(sessionId: string): void {
    if (this.unread.set(sessionId, false)) this.set({});
  }

  stateOf(session: Session): SessionState {
    if (session.awaits_you) return "needsYou";
    if (session.active_task_id) return "runs";
    return this.unread.has(session.id) ? "unread" : null;
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
    this.set({ sessions: this.shown(sessions), hasMore: this.cursor !== null, loaded: true });
  }

  private shown(sessions: readonly Session[]): Session[] {
    const titled = sessions.map((session) => ({ ...session, title: session.title ?? this.toldTitles.get(session.id) ?? null }));
    return titled.filter((session) => !this.removed.has(session.id));
  }

  /** Out of sight. It is the caller who has it deleted. */
  hide(sessionId: string): void {
    this.removed.set(sessionId, this.find(sessionId) ?? this.removed.get(sessionId));
    const others = (sessions: readonly Session[]) => sessions.filter((session) => session.id !== sessionId);
    this.set({ sessions: others(this.state.sessions), pinned: others(this.state.pinned) });
  }

  /** It may stand behind what a first page has. */
  unhide(sessionId: string, session = this.removed.get(sessionId)): Promise<void> {
    this.removed.delete(sessionId);
    if (session && !this.find(sessionId)) this.set({ sessions: [...this.state.sessions, session].sort((one, other) => (one.updated_at < other.updated_at ? 1 : -1)) });
    return this.refresh();
  }

  renamed(sessionId: string, title: string): void {
    this.toldTitles.set(sessionId, title);
    this.replace(sessionId, (session) => ({ ...session, title }));
  }

  /** The first words of conversations that have no title yet. */
  keepWords(sessionId: string, text: string): void {
    const words = firstWords(text);
    if (!words || this.words.get(sessionId) === words) return;
    this.words = new Map([...this.words, [sessionId, words] as const].slice(-MOST_STORED));
    remember(STORED, [...this.words]);
    this.set({});
  }

  /** It has not begun. */
  forgetWords(sessionId: string): void {
    if (!this.words.delete(sessionId)) return;
    remember(STORED, [...this.words]);
    this.set({});
  }

  titleOf(session: Pick<Session, "id" | "title"> & { created_at?: string }): string {
    return session.title ?? this.words.get(session.id) ?? (session.created_at ? dated(session.created_at) : "");
  }
}

const dated = (time: string): string => new Date(time).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });

/** Those that are pinned; the others by the day on which something was last said. */
export function grouped({ sessions, pinned }: ListState, words: Words): [string, readonly Session[]][] {
  const above = new Set(pinned.map(({ id }) => id));
  const days = byDay(sessions.filter(({ id }) => !above.has(id)), words);
  return pinned.length > 0 ? [[words.pinned, pinned], ...days] : days;
}

function byDay(sessions: readonly Session[], words: Words): [string, Session[]][] {
  const [today, yesterday, weekAgo] = [dayBegan(0), dayBegan(1), dayBegan(7)];
  const groupOf = ({ updated_at }: Session) => {
    const at = new Date(updated_at).getTime();
    if (at >= today) return words.today;
    if (at >= yesterday) return words.yesterday;
    return at >= weekAgo ? words.lastWeek : words.earlier;
  };
  const groups = new Map<string, Session[]>();
  for (const session of sessions) {
    const name = groupOf(session);
    groups.set(name, [...(groups.get(name) ?? []), session]);
  }
  return [...groups];
}
