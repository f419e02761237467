import { useWords } from "../words/words.ts";

export interface Suggested {
  texts: readonly string[];
  onPick: (text: string) => void;
}

/** What the service offers to ask. One is put into the box: it may be changed, and is sent as anything that is written. */
export function Suggestions({ texts, onPick }: Suggested) {
  const words = useWords();
  if (texts.length === 0) return null;
  return (
    <ul id="suggestions" aria-label={words.suggestions}>
      {texts.map((text) => (
        <li key={text}>
          <button type="button" className="button" dir="auto" onClick={() => onPick(text)}>
            {text}
          </button>
        </li>
      ))}
    </ul>
  );
}
