import { useWords } from "../words/words.ts";

/** An answer of which there is nothing yet, or its bare text: the program that shows it is on its way. */
export function AwaitedAnswer({ text }: { text: string }) {
  const words = useWords();
  return (
    <article className="message assistant streaming" aria-busy="true">
      <h2 className="unseen">{words.assistant}</h2>
      <div className="body">
        {text !== "" && (
          <div className="text" dir="auto">
            <p className="bare" dir="auto">
              {text}
            </p>
          </div>
        )}
      </div>
    </article>
  );
}
