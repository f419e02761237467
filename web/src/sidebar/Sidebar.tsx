import { useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Session } from "../client/api.ts";
import { Icon } from "../ui/Icon.tsx";
import { Loading } from "../ui/Loading.tsx";
import { useWords } from "../words/words.ts";
import { useToday } from "./days.ts";
import { Matches } from "./Matches.tsx";
import { grouped, NEW, type SessionList } from "./sessions.ts";
import { SessionItem } from "./SessionItem.tsx";

interface Props {
  list: SessionList;
  current: string | null;
  open: boolean;
  /** Put away, on a wide page. */
  folded: boolean;
  onNew: () => void;
  onPicked: () => void;
  onRename: (session: Session, title: string) => void;
  onPin: (session: Session, pinned: boolean) => void;
  /** `archive`: it is not deleted, but archived. */
  onDelete: (session: Session, archive: boolean) => void;
  /** Null: nothing is shared here. */
  onShare: ((session: Session) => void) | null;
  onSettings: () => void;
  onShortcuts: () => void;
}

export function Sidebar({ list, current, open, folded, onNew, onPicked, onRename, onPin, onDelete, onShare, onSettings, onShortcuts }: Props) {
  const words = useWords();
  const state = useSyncExternalStore(list.subscribe, list.snapshot);
  useToday();
  const [search, setSearch] = useState("");
  const newChat = useRef<HTMLAnchorElement>(null);
  useLayoutEffect(() => {
    if (open) newChat.current?.focus();
  }, [open]);
  const wanted = search.trim().toLowerCase();
  const fitting = (sessions: readonly Session[]) => sessions.filter((session) => list.titleOf(session).toLowerCase().includes(wanted));
  const shown = grouped({ ...state, sessions: fitting(state.sessions), pinned: fitting(state.pinned) }, words);
  return (
    <nav id="sidebar" className={open ? "open" : folded ? "folded" : undefined} aria-label={words.conversations}>
      <header>
        <p className="brand">
          <img src="/static/icon.svg" alt="" width="24" height="24" />
          Sluiceway
        </p>
        <a
          id="new-chat"
          ref={newChat}
          className="button"
          href={NEW}
          onClick={(event) => {
            // With a key held down it is opened in another tab or window.
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            onNew();
          }}
        >
          {words.newChat}
        </a>
      </header>
      {(state.sessions.length > 0 || search) && (
        <input
          id="search"
          type="search"
          aria-label={words.search}
          placeholder={words.search}
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onKeyDown={(event) => {
            // It empties the box, and is not for the answer that is being written.
            if (event.key !== "Escape" || !search) return;
            event.stopPropagation();
            setSearch("");
          }}
        />
      )}
      <div id="sessions">
        {!state.loaded && <Loading />}
        {shown.map(([name, group]) => (
          <section key={name} aria-label={name}>
            <h2>{name}</h2>
            <ul>
              {group.map((session) => (
                <SessionItem key={session.id} session={session} title={list.titleOf(session)} state={list.stateOf(session)} isCurrent={session.id === current} onPicked={onPicked} onRename={onRename} onPin={onPin} onDelete={onDelete} onShare={onShare} />
              ))}
            </ul>
          </section>
        ))}
        <Matches wanted={wanted} alone={shown.length === 0} onPicked={onPicked} />
        {state.hasMore && <More list={list} />}
      </div>
      <footer>
        <button type="button" className="quiet" onClick={onSettings}>
          <Icon name="settings" /> {words.settings}
        </button>
        <button type="button" className="quiet" onClick={onShortcuts}>
          <Icon name="keys" /> {words.shortcuts}
        </button>
      </footer>
    </nav>
  );
}

/** The end of what was read: what is older comes when it is in sight. */
function More({ list }: { list: SessionList }) {
  const words = useWords();
  const mark = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry?.isIntersecting) return;
      void list.showMore().then(() => {
        if (!mark.current) return;
        observer.unobserve(mark.current);
        observer.observe(mark.current);
      });
    }, { rootMargin: "300px 0px" });
    observer.observe(mark.current!);
    return () => observer.disconnect();
  }, [list]);
  return (
    <p ref={mark} className="older">
      {words.loading}
    </p>
  );
}
