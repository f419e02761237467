// What a person wants every answer to heed.

import { useEffect, useState } from "react";
import { readInstructions, writeInstructions } from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import { sentenceOf, useWords } from "../words/words.ts";

export function Instructions() {
  const words = useWords();
  const [stored, setStored] = useState<{ text: string; max_chars: number } | null>(null);
  const [text, setText] = useState("");
  const [said, setSaid] = useState("");
  useEffect(() => {
    const load = async () => {
      try {
        const read = await readInstructions();
        setStored(read);
        setText(read.text);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
      }
    };
    void load();
  }, []);
  if (stored === null) return null;
  async function save(event: React.FormEvent): Promise<void> {
    event.preventDefault();
    try {
      await writeInstructions(text);
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
        maxLength={stored.max_chars}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setSaid("");
        }}
      />
      <p>
        <button type="submit" className="button">
          {words.save}
        </button>{" "}
        <span role="status">{said}</span>
      </p>
    </form>
  );
}
