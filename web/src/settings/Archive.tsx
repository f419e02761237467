// The conversations that are out of the list: opened, and brought back.

import { useEffect, useRef, useState } from "react";
import { listSessions, type Session } from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import { addressOf } from "../sidebar/sessions.ts";
import { BusyButton } from "../ui/BusyButton.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { Loading } from "../ui/Loading.tsx";
import { sentenceOf, useWords, type Said } from "../words/words.ts";

interface Props {
  titleOf: (session: Session) => string;
  /** Throws a Problem. */
  onBack: (session: Session) => Promise<void>;
  onClose: () => void;
}

export function Archive({ titleOf, onBack, onClose }: Props) {
  const words = useWords();
  const [sessions, setSessions] = useState<readonly Session[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [problem, setProblem] = useState<Said | null>(null);
  const list = useRef<HTMLUListElement>(null);

  const tried = async (action: () => Promise<void>) => {
    setProblem(null);
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(() => sentenceOf(error));
    }
  };
  const more = () =>
    tried(async () => {
      const page = await listSessions(cursor, true);
      setSessions((known) => [...(known ?? []), ...page.sessions]);
      setCursor(page.next_cursor);
    });
  useEffect(() => void more(), []);
  const back = (session: Session) => {
    // The button is about to go, and the focus would go with it.
    list.current?.focus();
    const before = sessions;
    setSessions(sessions!.filter(({ id }) => id !== session.id));
    void tried(() =>
      onBack(session).catch((error: unknown) => {
        setSessions(before);
        throw error;
      }),
    );
  };
  return (
    <Dialog title={words.archivedChats} onClose={onClose}>
      {problem && (
        <p role="alert" className="notice failure">
          {problem(words)}
        </p>
      )}
      {sessions === null && !problem && <Loading />}
      {sessions?.length === 0 && !cursor && <p className="soft">{words.nothingArchived}</p>}
      <ul ref={list} className="facts" tabIndex={-1} aria-label={words.archivedChats}>
        {sessions?.map((session) => (
          <li key={session.id}>
            <a href={addressOf(session.id)} dir="auto" onClick={onClose}>
              {titleOf(session)}
            </a>
            <button type="button" className="quiet" aria-label={`${words.bringBack}: ${titleOf(session)}`} onClick={() => back(session)}>
              {words.bringBack}
            </button>
          </li>
        ))}
      </ul>
      {cursor && (
        <BusyButton className="button" onClick={more}>
          {words.showMore}
        </BusyButton>
      )}
    </Dialog>
  );
}
