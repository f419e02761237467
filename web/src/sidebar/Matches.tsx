// What the server finds in messages, below the conversations whose titles fit.

import { useEffect, useState } from "react";
import { searchMessages, type FoundMessage } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { useWords } from "../words/words.ts";
import { addressOf } from "./sessions.ts";

const PAUSE_MS = 250;
const LEAST_CHARS = 2;

export function Matches({ wanted, onPicked }: { wanted: string; onPicked: () => void }) {
  const words = useWords();
  const [found, setFound] = useState<readonly FoundMessage[]>([]);
  useEffect(() => {
    setFound([]);
    if (wanted.length < LEAST_CHARS) return;
    const leaving = new AbortController();
    const look = async () => {
      try {
        setFound((await searchMessages(wanted, leaving.signal)).messages);
      } catch (error) {
        // What cannot be searched right now finds nothing; titles are searched all the same.
        if (!(error instanceof Problem) && !isAbort(error)) throw error;
      }
    };
    const timer = setTimeout(() => void look(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, [wanted]);
  if (found.length === 0) return null;
  return (
    <section aria-label={words.inMessages}>
      <h2>{words.inMessages}</h2>
      <ul className="matches">
        {found.map((one) => (
          <li key={`${one.session_id} ${one.message_id}`}>
            <a href={addressOf(one.session_id)} onClick={onPicked} dir="auto">
              {one.session_title && <b>{one.session_title}</b>} <span>{one.snippet}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
