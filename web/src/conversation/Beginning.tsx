// The log before its program is there: what was written meanwhile stands in it already, and the bare text of its answer.

import { Fragment } from "react";
import { AwaitedAnswer } from "../message/AwaitedAnswer.tsx";
import { useWords } from "../words/words.ts";
import { Suggestions, type Suggested } from "./Suggestions.tsx";
import type { Snapshot } from "./state.ts";

export function Beginning({ state, suggested }: { state: Snapshot; suggested: Suggested }) {
  const words = useWords();
  const isEmpty = state.pending.length === 0;
  return (
    <div className="stage">
      <div id="log" role="log" aria-live="off" aria-label={words.messages} tabIndex={0}>
        <div id="column">
          {isEmpty && <p id="welcome">{state.exists ? words.loading : words.welcome}</p>}
          {isEmpty && !state.exists && <Suggestions {...suggested} />}
          <div id="messages">
            {state.pending.map(({ id, text, notice }, n) => (
              <Fragment key={id}>
                <article className="message user sending">
                  <h2 className="unseen">{words.you}</h2>
                  <div className="body">
                    <div className="text" dir="auto">
                      {text}
                    </div>
                  </div>
                </article>
                {n === 0 && state.running && !notice && <AwaitedAnswer text={state.early} />}
              </Fragment>
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}
