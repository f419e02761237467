// The list of conversations, newest first.

import { listSessions } from "./api.js";
import { element } from "./dom.js";

const STORED = "sluiceway.first-words";
const MOST_STORED = 300;

export const addressOf = (sessionId) => `#/c/${encodeURIComponent(sessionId)}`;

/** The conversation that an address names, or null. */
export function sessionIn(hash) {
  try {
    const match = /^#\/c\/([^/]+)$/.exec(hash);
    return match && decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

/** The beginning of a text, cut at a word, as a title. */
export function firstWords(text, most = 48) {
  const line = text.trim().replace(/\s+/g, " ");
  if (line.length <= most) return line;
  const cut = line.slice(0, most + 1);
  const end = cut.lastIndexOf(" ");
  return `${cut.slice(0, end > most / 2 ? end : most).trim()}…`;
}

/** The first words of conversations that have no title yet. Where a browser keeps nothing, dates stand instead. */
class Memory {
  constructor() {
    try {
      this.words = new Map(JSON.parse(localStorage.getItem(STORED) ?? "[]"));
    } catch {
      this.words = new Map();
    }
  }

  keep(sessionId, text) {
    if (!text || this.words.get(sessionId) === text) return;
    this.words.set(sessionId, text);
    const entries = [...this.words].slice(-MOST_STORED);
    try {
      localStorage.setItem(STORED, JSON.stringify(entries));
    } catch {
      // A full or forbidden storage costs titles, nothing else.
    }
  }
}

export class SessionList {
  constructor({ list, more }) {
    this.list = list;
    this.more = more;
    this.memory = new Memory();
    this.current = null;
    this.cursor = null;
    more.addEventListener("click", () => this.showMore().catch(() => {}));
  }

  /** Read the first page again. Older pages that were shown stay. */
  async refresh() {
    const page = await listSessions();
    const known = new Map([...this.list.children].map((item) => [item.dataset.sessionId, item]));
    const fresh = page.sessions.map((session) => this.item(session, known.get(session.id)));
    const older = this.cursor === null ? [] : [...known.values()].filter((item) => !fresh.includes(item));
    this.list.replaceChildren(...fresh, ...older);
    if (this.cursor === null) this.continueAt(page.next_cursor);
    this.mark(this.current);
  }

  async showMore() {
    const page = await listSessions(this.cursor);
    const shown = new Set([...this.list.children].map((item) => item.dataset.sessionId));
    const added = page.sessions.filter((session) => !shown.has(session.id)).map((session) => this.item(session));
    this.list.append(...added);
    this.continueAt(page.next_cursor);
    this.mark(this.current);
    added[0]?.firstElementChild.focus();
  }

  continueAt(cursor) {
    this.cursor = cursor;
    this.more.hidden = cursor === null;
  }

  item(session, known) {
    const item = known ?? element("li", { "data-session-id": session.id }, element("a", { href: addressOf(session.id) }));
    const link = item.firstElementChild;
    const title = this.titleOf(session);
    if (link.textContent !== title) link.textContent = title;
    link.title = title;
    return item;
  }

  titleOf(session) {
    return session.title ?? this.memory.words.get(session.id) ?? dated(session.created_at);
  }

  /** Which conversation is shown, and how it begins. */
  mark(sessionId, firstText = "") {
    this.current = sessionId;
    this.memory.keep(sessionId, firstWords(firstText));
    for (const item of this.list.children) {
      const link = item.firstElementChild;
      if (item.dataset.sessionId === sessionId) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
}

function dated(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
