// Reads an answer aloud, to a screen reader, paragraph by paragraph while it is written.
//
// The log is no live region of the browser's: with each word that comes the paragraph would be read from its beginning,
// and a history that is opened from its first message. Each block is told once, when the next one has begun.

import { useLayoutEffect, type RefObject } from "react";
import { announce } from "../ui/announced.ts";
import { useWords } from "../words/words.ts";
import { Reader } from "./reader.ts";

const LOOK_MS = 1_000;
// The log draws the last words a frame or two behind the end of their turn.
const DRAWN_MS = 150;

export function useReading(log: RefObject<HTMLElement | null>, running: boolean): void {
  const { assistant } = useWords();
  // With what is drawn first: a moment later the beginning of an answer would be there, and count as read.
  useLayoutEffect(() => {
    if (!running) return;
    const reader = new Reader(() => log.current, assistant);
    const look = (whole: boolean) => {
      const said = reader.look(whole);
      if (said) announce(said);
    };
    const timer = setInterval(() => look(false), LOOK_MS);
    return () => {
      clearInterval(timer);
      setTimeout(() => look(true), DRAWN_MS);
    };
  }, [running, log, assistant]);
}
