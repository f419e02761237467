import { Markdown } from "../markdown/Markdown.tsx";
import { useWords } from "../words/words.ts";

/** Folded away, with the time that it took. */
export function Reasoning({ text, open, seconds }: { text: string; open: boolean; seconds: number | null }) {
  const words = useWords();
  return (
    <details className="reasoning">
      <summary className={open ? "growing" : undefined}>{seconds === null ? words.reasoning : words.reasoningFor(seconds)}</summary>
      <Markdown className="text" text={text} open={open} />
    </details>
  );
}
