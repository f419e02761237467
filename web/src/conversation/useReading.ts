// Reads an answer aloud, to a screen reader, paragraph by paragraph while it is written.
//
// The log is no live region of the browser's: with each word that comes the paragraph would be read from its beginning,
// and a history that is opened from its first message. Each block is told once, when the next one has begun.

import { useEffect, type RefObject } from "react";
import { announce } from "../ui/announced.ts";
import { useWords } from "../words/words.ts";

const LOOK_MS = 1_000;
// The log draws the last words a frame or two behind the end of their turn.
const DRAWN_MS = 150;
// Of code and tables that are longer a person hears the beginning, and reads the rest where it stands.
const MOST_CHARS = 1_200;

export function useReading(log: RefObject<HTMLElement | null>, running: boolean): void {
  const { assistant } = useWords();
  useEffect(() => {
    if (!running) return;
    const reader = new Reader(log, assistant);
    const timer = setInterval(() => reader.look(false), LOOK_MS);
    return () => {
      clearInterval(timer);
      setTimeout(() => reader.look(true), DRAWN_MS);
    };
  }, [running, log, assistant]);
}

class Reader {
  private readonly log: RefObject<HTMLElement | null>;
  private readonly name: string;
  private message: string | undefined;
  private told = 0;

  constructor(log: RefObject<HTMLElement | null>, name: string) {
    this.log = log;
    this.name = name;
    const known = this.answer;
    // Of an answer that is resumed a person has heard, or can read, what stands there.
    this.message = known?.dataset.messageId;
    this.told = known ? blocksOf(known).length : 0;
  }

  private get answer(): HTMLElement | null {
    const last = this.log.current?.querySelector<HTMLElement>("#messages > :last-child");
    return last?.matches(".assistant[data-message-id]") ? last : null;
  }

  look(whole: boolean): void {
    const answer = this.answer;
    if (!answer) return;
    if (answer.dataset.messageId !== this.message) {
      this.message = answer.dataset.messageId;
      this.told = 0;
    }
    const blocks = blocksOf(answer);
    const finished = whole ? blocks.length : blocks.length - 1;
    const fresh = blocks.slice(this.told, finished).map(textIn).filter(Boolean).join("\n");
    if (fresh) announce(this.told === 0 ? `${this.name}: ${fresh}` : fresh);
    this.told = Math.max(this.told, finished);
  }
}

const blocksOf = (answer: HTMLElement): Element[] => [...answer.querySelectorAll(":scope > .body > .text > *")];

function textIn(block: Element): string {
  const text = block.textContent?.trim() ?? "";
  return text.length > MOST_CHARS ? `${text.slice(0, MOST_CHARS)}…` : text;
}
