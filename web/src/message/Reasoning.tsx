import { Markdown } from "../markdown/Markdown.tsx";
import { useWords } from "../words/words.ts";

/** Folded away, with the time that it took, where the service has told that. */
export function Reasoning({ text, open, seconds }: { text: string; open: boolean; seconds?: number }) {
  const words = useWords();
  return (
    <details className="reasoning">
      <summary className={open ? "growing" : undefined}>{seconds === undefined ? words.reasoning : words.reasoningFor(Math.max(1, Math.round(seconds)))}</summary>
      <Markdown className="text" text={text} open={open} />
    </details>
  );
}
