// A conversation that is deleted or archived can be brought back for a while: the server hears of it only then.

import { useCallback, useLayoutEffect, useRef, useState } from "react";
import { archiveSession, deleteSession, type Session } from "../client/api.ts";
import { addressOf, NEW, type SessionList } from "../sidebar/sessions.ts";

const UNDO_MS = 7_000;

export interface Deletion {
  session: Session;
  title: string;
  /** It is not deleted, but archived. */
  archive: boolean;
  /** It was open, and is so again where nothing else is by then. */
  shown: boolean;
}

export function useDeletion(list: SessionList, onFailed: (error: unknown) => void) {
  const [pending, setPending] = useState<Deletion | null>(null);
  const current = useRef<Deletion | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  const perform = useCallback(() => {
    const deletion = current.current;
    clearTimeout(timer.current);
    current.current = null;
    setPending(null);
    if (!deletion) return;
    const { id } = deletion.session;
    (deletion.archive ? archiveSession(id, true) : deleteSession(id)).catch((error: unknown) => {
      void list.unhide(id);
      onFailed(error);
    });
  }, [list, onFailed]);

  useLayoutEffect(() => {
    window.addEventListener("pagehide", perform);
    return () => window.removeEventListener("pagehide", perform);
  }, [perform]);

  const remove = useCallback(
    (session: Session, shown: boolean, archive: boolean) => {
      perform();
      current.current = { session, title: list.titleOf(session), archive, shown };
      setPending(current.current);
      list.hide(session.id);
      // Not while somebody is at it.
      const end = () => (document.querySelector("#toast:is(:hover, :focus-within)") ? wait() : perform());
      const wait = () => void (timer.current = setTimeout(end, UNDO_MS));
      wait();
    },
    [list, perform],
  );
  const undo = useCallback(() => {
    const deletion = current.current;
    clearTimeout(timer.current);
    current.current = null;
    setPending(null);
    if (!deletion) return;
    void list.unhide(deletion.session.id);
    if (deletion.shown && location.hash === NEW) location.hash = addressOf(deletion.session.id);
  }, [list]);
  return { pending, remove, undo };
}
