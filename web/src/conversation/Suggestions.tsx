import { useConfig } from "../client/useConfig.ts";
import { useWords } from "../words/words.ts";

/** What the service offers to ask. One is put into the box: it may be changed, and is sent as anything that is written. */
export function Suggestions({ onPick }: { onPick: (text: string) => void }) {
  const words = useWords();
  const { suggestions = [] } = useConfig() ?? {};
  if (suggestions.length === 0) return null;
  return (
    <ul id="suggestions" aria-label={words.suggestions}>
      {suggestions.map((text) => (
        <li key={text}>
          <button type="button" className="button" dir="auto" onClick={() => onPick(text)}>
            {text}
          </button>
        </li>
      ))}
    </ul>
  );
}
