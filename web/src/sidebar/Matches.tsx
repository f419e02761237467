// What the server finds in messages, below the conversations whose titles fit; or that nothing is found.

import { useEffect, useState } from "react";
import { searchMessages, type FoundMessage } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { Loading } from "../ui/Loading.tsx";
import { sentenceOf, useWords, type Said } from "../words/words.ts";
import { addressOf } from "./sessions.ts";

const PAUSE_MS = 250;
const LEAST_CHARS = 2;

/** `alone`: no title fits. */
export function Matches({ wanted, alone, onPicked }: { wanted: string; alone: boolean; onPicked: () => void }) {
  const words = useWords();
  const [found, setFound] = useState<readonly FoundMessage[] | null>(null);
  const [problem, setProblem] = useState<Said | null>(null);
  useEffect(() => {
    setFound(wanted.length < LEAST_CHARS ? [] : null);
    setProblem(null);
    if (wanted.length < LEAST_CHARS) return;
    const leaving = new AbortController();
    const look = async () => {
      try {
        setFound((await searchMessages(wanted, leaving.signal)).messages);
      } catch (error) {
        if (leaving.signal.aborted || isAbort(error)) return;
        if (!(error instanceof Problem)) throw error;
        // Titles are searched all the same.
        setProblem(() => sentenceOf(error));
      }
    };
    const timer = setTimeout(() => void look(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, [wanted]);
  const picked = (one: FoundMessage) => {
    onPicked();
    // Who has scrolled away from it since is brought back.
    if (location.hash === addressOf(one.session_id, one.message_id)) window.dispatchEvent(new Event("hashchange"));
  };
  if (!wanted) return null;
  if (problem) return <p className="soft">{problem(words)}</p>;
  if (!found) return <Loading />;
  if (found.length === 0) return alone ? <p className="soft">{words.nothingFound}</p> : null;
  return (
    <section aria-label={words.inMessages}>
      <h2>{words.inMessages}</h2>
      <ul className="matches">
        {found.map((one) => (
          <li key={`${one.session_id} ${one.message_id}`}>
            <a href={addressOf(one.session_id, one.message_id)} onClick={() => picked(one)} dir="auto">
              {one.session_title && <b>{one.session_title}</b>} <span>{one.snippet}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
