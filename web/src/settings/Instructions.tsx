// What a person wants every answer to heed. What is written and not saved is a draft, and outlives that the dialog is closed.

import { useEffect, useState } from "react";
import { persist, readInstructions, writeInstructions } from "../client/api.ts";
import { isAbort, Problem } from "../client/problem.ts";
import { whyNot } from "../conversation/statusLine.ts";
import { recall, remember } from "../storage.ts";
import { sentenceOf, useWords } from "../words/words.ts";

const DRAFT = "sluiceway.instructions";

export function Instructions() {
  const words = useWords();
  const [stored, setStored] = useState<{ text: string; max_chars: number } | null>(null);
  const [text, setText] = useState("");
  const [said, setSaid] = useState("");
  useEffect(() => {
    const leaving = new AbortController();
    const load = async () => {
      try {
        const onWait = (problem: Problem) => setSaid(words.waits(whyNot(problem)(words)));
        const read = await persist(readInstructions, { signal: leaving.signal, onWait });
        setStored(read);
        setSaid("");
        setText(recall<string | null>(DRAFT, null) ?? read.text);
      } catch (error) {
        if (isAbort(error)) return;
        if (!(error instanceof Problem)) throw error;
        setSaid(sentenceOf(error)(words));
      }
    };
    void load();
    return () => leaving.abort();
  }, []);
  async function save(event: React.FormEvent): Promise<void> {
    event.preventDefault();
    if (stored === null || said === words.saving) return;
    setSaid(words.saving);
    try {
      await writeInstructions(text);
      setStored({ ...stored, text });
      remember(DRAFT, null);
      setSaid(words.saved);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setSaid(words.notSaved(sentenceOf(error)(words)));
    }
  }
  return (
    <form className="instructions" onSubmit={(event) => void save(event)}>
      <h3 id="instructions">{words.instructions}</h3>
      <p id="instructions-hint" className="notice note">
        {words.instructionsHint}
      </p>
      <textarea
        aria-labelledby="instructions"
        aria-describedby="instructions-hint"
        dir="auto"
        maxLength={stored?.max_chars}
        // Its place is kept: what stands below it does not move when it comes.
        readOnly={stored === null}
        placeholder={stored === null && !said ? words.loading : undefined}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          remember(DRAFT, event.target.value === stored?.text ? null : event.target.value);
          setSaid("");
        }}
      />
      <p>
        <button type="submit" className="button">
          {words.save}
        </button>{" "}
        <span role="status">{said || (stored === null || text === stored.text ? "" : words.notSavedYet)}</span>
      </p>
    </form>
  );
}
