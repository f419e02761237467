import { useRef } from "react";
import { Markdown } from "../markdown/Markdown.tsx";
import { useWords } from "../words/words.ts";

/** Folded away, with the time that it took where this page has seen it. */
export function Reasoning({ text, open }: { text: string; open: boolean }) {
  const words = useWords();
  const seconds = useDuration(open);
  return (
    <details className="reasoning">
      <summary className={open ? "growing" : undefined}>{seconds ? words.reasoningFor(seconds) : words.reasoning}</summary>
      <Markdown className="text" text={text} open={open} />
    </details>
  );
}

function useDuration(open: boolean): number | null {
  const began = useRef<number | null>(null);
  const took = useRef<number | null>(null);
  if (open) began.current ??= performance.now();
  else if (began.current !== null) took.current ??= Math.max(1, Math.round((performance.now() - began.current) / 1000));
  return took.current;
}
