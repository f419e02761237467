// In the place of a conversation that cannot be shown.

import { NEW } from "../sidebar/sessions.ts";
import { focused } from "../ui/focused.ts";
import { useWords } from "../words/words.ts";

export function Absent() {
  const words = useWords();
  return (
    <div className="stage">
      <div id="log" role="region" aria-label={words.messages}>
        <div id="column">
          <div id="welcome">
            <p role="alert">{words.absent}</p>
            <a className="button" href={NEW} ref={focused}>
              {words.newChat}
            </a>
          </div>
        </div>
      </div>
    </div>
  );
}
