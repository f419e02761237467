// What is known about the person who reads this: seen, and removed.

import { useEffect, useRef, useState } from "react";
import { forgetFact, persist, readUnderstanding } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { whyNot } from "../conversation/statusLine.ts";
import { Loading } from "../ui/Loading.tsx";
import { sentenceOf, useWords, type Said } from "../words/words.ts";

export function Understanding() {
  const words = useWords();
  const [facts, setFacts] = useState<Record<string, unknown> | null>(null);
  const [problem, setProblem] = useState<Said | null>(null);
  const section = useRef<HTMLElement>(null);
  const load = async (read = readUnderstanding) => {
    try {
      setFacts((await read()).facts);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      setProblem(() => sentenceOf(error));
    }
  };
  useEffect(() => {
    const leaving = new AbortController();
    const onWait = (why: Problem) => setProblem(() => (w: typeof words) => w.waits(whyNot(why)(w)));
    void load(async () => {
      const read = await persist(readUnderstanding, { signal: leaving.signal, onWait });
      setProblem(null);
      return read;
    });
    return () => leaving.abort();
  }, []);
  const forget = async (name?: string) => {
    // The button is about to go, and the focus would go with it.
    section.current?.focus();
    setProblem(null);
    setFacts((known) => Object.fromEntries(Object.entries(known ?? {}).filter(([one]) => name !== undefined && one !== name)));
    try {
      await forgetFact(name);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(() => sentenceOf(error));
    }
    await load();
  };
  const names = Object.keys(facts ?? {});
  return (
    <section ref={section} tabIndex={-1} aria-label={words.knownAboutYou}>
      <h3>{words.knownAboutYou}</h3>
      {problem && (
        <p role="alert" className="notice failure">
          {problem(words)}
        </p>
      )}
      {facts === null && !problem && <Loading />}
      {facts && names.length === 0 && <p className="notice note">{words.nothingKnown}</p>}
      <ul className="facts">
        {names.map((name) => (
          <li key={name}>
            <span dir="auto">
              <b>{name}</b>: {typeof facts![name] === "string" ? facts![name] : JSON.stringify(facts![name])}
            </span>
            <button type="button" className="quiet" aria-label={words.forgetFact(name)} onClick={() => void forget(name)}>
              {words.forget}
            </button>
          </li>
        ))}
      </ul>
      {names.length > 1 && (
        <button type="button" className="button" onClick={() => void forget()}>
          {words.forgetAll}
        </button>
      )}
    </section>
  );
}
