// The page: which conversation is shown, the list of conversations, other tabs, settings and keys.

import { useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import { flushSync } from "react-dom";
import { archiveSession, deleteSession, persist, pinSession, renameSession, type Session } from "../client/api.ts";
import { newId } from "../client/ids.ts";
import { isKnown, isSignedIn, onSignedIn } from "../client/person.ts";
import { followPerson, type PersonEvent } from "../client/personEvents.ts";
import { pageIsOld } from "../client/program.ts";
import { signIn, signInWanted, tokenWanted } from "../client/signIn.ts";
import { onSignedOut } from "../client/signOut.ts";
import { tryNow } from "../client/waiting.ts";
import { useConfig } from "../client/useConfig.ts";
import { Problem } from "../client/problem.ts";
import { takeDraft } from "../composer/Composer.tsx";
import { Conversation } from "../conversation/conversation.ts";
import { ModelPicker } from "../conversation/ModelPicker.tsx";
import { unbegun, unsentConversation } from "../conversation/outbox.ts";
import { talking, talkingNow } from "../conversation/talking.ts";
import { firstWords } from "../message/names.ts";
import { applyPreferences, keepPreferences, readPreferences, type Preferences } from "../settings/preferences.ts";
import { Shortcuts } from "../settings/Shortcuts.tsx";
import { NEW, NEW_TEMPORARY, SessionList, addressOf, messageIn, sessionIn } from "../sidebar/sessions.ts";
import { Sidebar } from "../sidebar/Sidebar.tsx";
import { useFolded } from "../sidebar/useFolded.ts";
import { announce } from "../ui/announced.ts";
import { Announcements } from "../ui/Announcements.tsx";
import { BusyButton } from "../ui/BusyButton.tsx";
import { focusBox } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { OldPage } from "../ui/OldPage.tsx";
import { fetchWords, isThere, sentenceOf, wordsIn, WordsContext } from "../words/words.ts";
import { Page, type PageHandle } from "./Page.tsx";
import { useDeletion } from "./useDeletion.ts";
import { useDone } from "./useDone.ts";
import { useKeys } from "./useKeys.ts";

const LONG_HIDDEN_MS = 5 * 60_000;

export function App() {
  const [list] = useState(() => new SessionList());
  const [preferences, setPreferences] = useState(readPreferences);
  const preferred = useRef(preferences);
  preferred.current = preferences;
  const [dialog, setDialog] = useState<"settings" | "archive" | "shortcuts" | null>(null);
  const [sharing, setSharing] = useState<Session | null>(null);
  const [menu, setMenu] = useState(false);
  const { isWide, folded, fold } = useFolded();
  const config = useConfig();
  const page = useRef<PageHandle>(null);
  const menuButton = useRef<HTMLButtonElement>(null);
  const words = wordsIn(preferences.language);
  const asksForToken = useSyncExternalStore(tokenWanted.subscribe, tokenWanted.snapshot);
  const asksToSignIn = useSyncExternalStore(signInWanted.subscribe, signInWanted.snapshot);

  const onDone = useRef<(other?: string) => void>(() => {});
  const make = useCallback(
    (named: string | null): Conversation => {
      const sessionId = named ?? newId();
      const begun = named === null ? { temporary: location.hash === NEW_TEMPORARY } : unbegun(named);
      const conversation: Conversation = new Conversation(sessionId, begun !== null, begun?.temporary ?? false, {
        onChange: () => void list.refresh(),
        onSession: (session, firstText) => {
          if (!session.temporary) list.keepWords(session.id, firstText);
        },
        onTitle: (title) => list.renamed(conversation.sessionId, title),
        onReturn: (text, files) => page.current?.putBack(text, files),
        onUnbegun: () => {
          list.forgetWords(conversation.sessionId);
          if (sessionIn(location.hash) === conversation.sessionId) history.replaceState(null, "", conversation.snapshot().temporary ? NEW_TEMPORARY : NEW);
        },
        onEnd: () => {
          void list.refresh();
          onDone.current();
        },
      });
      if (begun === null) conversation.seek(messageIn(location.hash));
      return conversation;
    },
    [list],
  );
  const [conversation, setConversation] = useState(() => {
    const unsent = sessionIn(location.hash) === null ? unsentConversation() : null;
    if (unsent !== null) history.replaceState(null, "", addressOf(unsent));
    return make(sessionIn(location.hash));
  });
  const shownNow = useRef(conversation);
  shownNow.current = conversation;

  useEffect(() => {
    conversation.open();
    return () => conversation.close();
  }, [conversation]);
  useLayoutEffect(() => {
    const route = () => {
      const sessionId = sessionIn(location.hash);
      if (sessionId === null || sessionId !== shownNow.current.sessionId) setConversation(make(sessionId));
      else shownNow.current.seek(messageIn(location.hash));
    };
    window.addEventListener("hashchange", route);
    return () => window.removeEventListener("hashchange", route);
  }, [make]);
  useEffect(() => {
    void list.refresh();
    const leaving = new AbortController();
    followPerson((event) => heard.current(event), leaving.signal);
    return () => leaving.abort();
  }, [list]);
  const heard = useRef<(event: PersonEvent) => void>(() => {});
  heard.current = (event) => {
    const shown = shownNow.current;
    const isShown = "session_id" in event && event.session_id === shown.sessionId;
    list.hear(event, isShown && document.visibilityState === "visible");
    if (event.type === "ready") shown.heardServer();
    if (event.type === "ready" && !event.resumed) void shown.refresh();
    if (event.type === "turn-ended" && !isShown) onDone.current(list.titleOf({ id: event.session_id, title: list.find(event.session_id)?.title ?? null }));
    if (!isShown) return;
    if (event.type === "turn-started") shown.heardStart(event.task_id);
    else if (event.type === "turn-ended" || event.type === "turn-needs-you") shown.heardEnd(event.task_id);
    else if (event.type === "session-changed" || event.type === "session-archived") shown.heardChange();
    else if (event.type === "session-deleted") leaveDeleted();
  };
  // The page did not wait for its words any longer.
  useEffect(() => {
    if (isThere(preferences.language)) return;
    const shown = () => {
      setPreferences({ ...preferred.current });
      applyPreferences(preferred.current);
    };
    void persist(() => fetchWords(preferences.language), { onWait: () => {} }).then(shown, () => {});
  }, []);
  useLayoutEffect(() => {
    let hiddenAt = 0;
    const look = () => {
      if (document.visibilityState !== "visible") return void (hiddenAt = Date.now());
      list.look(conversation.sessionId);
      // Everything was told meanwhile, unless the browser let nothing run.
      if (hiddenAt && Math.abs(Date.now() - hiddenAt) > LONG_HIDDEN_MS) {
        void list.refresh();
        void conversation.refresh();
      }
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [list, conversation]);

  useEffect(() => {
    if (config?.auth === "jwt" && !isKnown()) void isSignedIn();
  }, [config]);
  useLayoutEffect(() => {
    onSignedOut(() => location.reload());
    onSignedIn((isSame) => {
      if (!isSame) return location.reload();
      if (!signInWanted.snapshot()) return;
      signInWanted.set(false);
      shownNow.current.tell(null);
      tryNow();
      void list.refresh();
      void shownNow.current.refresh();
    });
  }, [list]);

  const tellProblem = useCallback((error: unknown) => {
    if (error instanceof Problem) shownNow.current.tell(sentenceOf(error));
  }, []);
  /** What needs the second half of the program. */
  const later = (open: () => void) => {
    const opened = () => {
      shownNow.current.tell(null);
      flushSync(open);
    };
    if (talkingNow()) return flushSync(open);
    shownNow.current.tell((words) => words.loading);
    void talking().then(opened, tellProblem);
  };
  const deletion = useDeletion(list, tellProblem);
  const { title: ownTitle, absent, exists, temporary, archived, pending } = useSyncExternalStore(conversation.subscribe, conversation.snapshot);
  useSyncExternalStore(list.subscribe, list.snapshot);
  const listed = list.find(conversation.sessionId);
  const title = list.titleOf(listed ?? { id: conversation.sessionId, title: ownTitle }) || null;
  onDone.current = useDone(title, preferences.notify, words);

  /** At once: a key that is typed behind the click is for the new box. */
  const beginNew = () => {
    history.pushState(null, "", NEW);
    flushSync(() => {
      setMenu(false);
      setConversation(make(null));
    });
  };
  const beTemporary = () => {
    conversation.beTemporary(!temporary);
    history.replaceState(null, "", temporary ? NEW : NEW_TEMPORARY);
    announce(temporary ? words.isNotTemporary : words.temporaryHint);
  };
  /** At once, as nobody could find it to undo that. */
  const endTemporary = () => {
    beginNew();
    page.current?.focus();
    announce(words.removed(words.temporaryChat));
    deleteSession(conversation.sessionId).catch(tellProblem);
  };
  /** On another device, or in another window. What was being written in it goes along. */
  const leaveDeleted = () => {
    const draft = takeDraft(shownNow.current.sessionId);
    const next = make(null);
    next.tell((words) => words.deletedElsewhere);
    flushSync(() => setConversation(next));
    history.replaceState(null, "", NEW);
    if (draft) page.current?.putBack(draft);
  };
  const toggleList = () => {
    if (!isWide) return menu ? closeMenu() : setMenu(true);
    if (!folded && document.activeElement?.closest("#sidebar")) menuButton.current?.focus();
    fold(!folded);
  };
  /** Its box takes the focus from what has it when the list opens. */
  const search = () => {
    flushSync(() => (isWide ? fold(false) : setMenu(true)));
    document.getElementById("search")?.focus();
  };
  const closeMenu = useCallback(() => {
    setMenu((open) => {
      if (open) menuButton.current?.focus();
      return false;
    });
  }, []);
  useKeys({
    onEscape: () => (menu ? closeMenu() : page.current?.escape()),
    onNewChat: beginNew,
    onCopyLast: () => page.current?.copyLast(),
    onShortcuts: () => setDialog("shortcuts"),
    onBox: () => page.current?.focus(),
    onPrint: () => void printAll(),
    onSearch: search,
    onList: toggleList,
    onFind: () => void conversation.showAll(),
  });

  async function change(changed: Partial<Preferences>): Promise<void> {
    const problem = changed.language && (await fetchWords(changed.language).then(() => null, (error: Problem) => error));
    // Another may have been changed meanwhile.
    const all = { ...preferred.current, ...changed };
    if (problem && pageIsOld.snapshot() && !document.getElementById("chosen")) {
      keepPreferences(all);
      return location.reload();
    }
    if (problem) return tellProblem(problem);
    setPreferences(all);
    keepPreferences(all);
    applyPreferences(all);
  }
  /** The browser prints what is shown, and of a long conversation that is its end. */
  async function printAll(): Promise<void> {
    if (await conversation.showAll()) later(() => talkingNow()!.printWhen(conversation.messages.length));
  }
  async function exportAll(): Promise<void> {
    if (await conversation.showAll()) talkingNow()!.saveMessages(title ?? words.newChat, conversation.messages, words);
  }
  async function rename(session: Session, name: string): Promise<void> {
    const before = session.title;
    list.renamed(session.id, name);
    try {
      await renameSession(session.id, name);
    } catch (error) {
      if (before) list.renamed(session.id, before);
      void list.refresh();
      tellProblem(error);
    }
  }
  /** Its place in the list is another one, and the focus goes there with it. */
  function pin(session: Session, pinned: boolean): void {
    flushSync(() => list.pin(session, pinned));
    // One that is no longer pinned may be further down than the list was read.
    (document.querySelector<HTMLElement>(`[data-session-id="${CSS.escape(session.id)}"] button`) ?? document.getElementById("new-chat"))?.focus();
    announce(pinned ? words.isPinned(list.titleOf(session)) : words.isUnpinned(list.titleOf(session)));
    pinSession(session.id, pinned).catch((error: unknown) => {
      void list.refresh();
      tellProblem(error);
    });
  }
  /** Back into the list. */
  async function bringBack(id: string, name: string, session?: Session): Promise<void> {
    await archiveSession(id, false);
    announce(words.isBack(name));
    void list.unhide(id, session);
    if (id === conversation.sessionId) void conversation.refresh();
  }
  function remove(session: Session, archive: boolean): void {
    const isShown = session.id === conversation.sessionId;
    deletion.remove(session, isShown, archive);
    if (isShown) location.hash = NEW;
    else document.getElementById("new-chat")?.focus();
  }

  const { Archive, Settings, ShareDialog, TokenDialog } = talkingNow() ?? {};
  return (
    <WordsContext value={words}>
      <a
        className="skip"
        href="#text"
        onClick={(event) => {
          event.preventDefault();
          page.current?.focus();
        }}
      >
        {words.skip}
      </a>
      <main>
        <header>
          <button id="menu" ref={menuButton} className="icon" type="button" aria-controls="sidebar" aria-expanded={isWide ? !folded : menu} aria-label={words.conversations} title={words.conversations} onClick={toggleList}>
            <Icon name="menu" />
          </button>
          <h1 id="title" dir="auto">
            {title ?? (absent ? words.absentTitle : temporary ? words.temporaryChat : words.newChat)}
          </h1>
          {!exists && pending.length === 0 && (
            <button className="icon" type="button" aria-pressed={temporary} aria-label={words.temporaryChat} title={words.temporaryChat} onClick={beTemporary}>
              <Icon name="temporary" />
            </button>
          )}
          {!absent && <ModelPicker key={conversation.sessionId} conversation={conversation} />}
          {(!isWide || folded) && (
            <button className="icon" type="button" aria-label={words.newChat} title={words.newChat} onClick={beginNew}>
              <Icon name="plus" />
            </button>
          )}
        </header>
        {temporary && (
          <p id="temporary" role="note">
            {words.temporaryHint}{" "}
            {exists && (
              <button type="button" className="quiet" onClick={endTemporary}>
                {words.deleteNow}
              </button>
            )}
          </p>
        )}
        <OldPage />
        {asksToSignIn && (
          <p className="kept" role="alert">
            {words.signInEnded}{" "}
            <BusyButton className="button primary" onClick={() => signIn().then((isThere) => isThere || conversation.tell((words) => words.unreachable))}>
              {words.signInAgain}
            </BusyButton>
          </p>
        )}
        {archived && (
          <p className="kept" role="note">
            {words.isArchived}{" "}
            <BusyButton className="quiet" onClick={() => (page.current?.focus(), bringBack(conversation.sessionId, title ?? "").catch(tellProblem))}>
              {words.bringBack}
            </BusyButton>
          </p>
        )}
        <Page
          key={conversation.sessionId}
          conversation={conversation}
          handle={page}
          suggestions={config?.suggestions ?? []}
          onSend={(text) => {
            // From here on a reload comes back to it, whatever has become of its first message.
            if (sessionIn(location.hash) === null) history.replaceState(null, "", addressOf(conversation.sessionId));
            if (!conversation.snapshot().exists && !title && !temporary) list.keepWords(conversation.sessionId, firstWords(text));
          }}
        />
        {/* Next to the box in the order of the keys: it is there for a while only. */}
        <div id="toast" aria-live="polite">
          {deletion.pending && (
            <p>
              {(deletion.pending.archive ? words.isNowArchived : words.removed)(deletion.pending.title)}
              <button type="button" className="button" onClick={deletion.undo}>
                {words.undo}
              </button>
            </p>
          )}
        </div>
      </main>
      <Sidebar
        list={list}
        current={conversation.sessionId}
        open={menu}
        folded={folded}
        onNew={beginNew}
        onPicked={closeMenu}
        onRename={(session, name) => void rename(session, name)}
        onPin={pin}
        onDelete={remove}
        onShare={config?.share_links ? (session) => later(() => setSharing(session)) : null}
        onSettings={() => later(() => setDialog("settings"))}
        onShortcuts={() => setDialog("shortcuts")}
      />
      {menu && <div id="scrim" onClick={closeMenu} />}
      <Announcements />
      {dialog === "settings" && Settings && (
        <Settings
          preferences={preferences}
          onChange={(changed) => void change(changed)}
          onClose={() => setDialog(null)}
          onArchive={() => setDialog("archive")}
          onExport={conversation.messages.length > 0 ? exportAll : null}
        />
      )}
      {dialog === "archive" && Archive && <Archive titleOf={(session) => list.titleOf(session)} onBack={(session) => bringBack(session.id, list.titleOf(session), session)} onClose={() => (setDialog(null), focusBox())} />}
      {sharing && ShareDialog && <ShareDialog session={sharing} onClose={() => setSharing(null)} />}
      {asksForToken && TokenDialog && <TokenDialog />}
      {dialog === "shortcuts" && <Shortcuts onClose={() => setDialog(null)} />}
    </WordsContext>
  );
}
