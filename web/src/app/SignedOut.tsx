// In the place of the page where nobody is signed in, and why that is so.

import { useLayoutEffect, useSyncExternalStore } from "react";
import { onSignedIn } from "../client/person.ts";
import { signInAgain, tokenWanted, type Failure } from "../client/signIn.ts";
import { endSignedOut, signOut } from "../client/signOut.ts";
import { readPreferences } from "../settings/preferences.ts";
import { wordsIn, WordsContext } from "../words/words.ts";
import { TokenDialog } from "./TokenDialog.tsx";

/** `left`: somebody has signed out; `ended`: it was for a time, which is over. */
export type Why = "left" | "ended" | Failure;

export function SignedOut({ why }: { why: Why }) {
  const words = wordsIn(readPreferences().language);
  const asksForToken = useSyncExternalStore(tokenWanted.subscribe, tokenWanted.snapshot);
  const again = () => {
    endSignedOut();
    signInAgain();
  };
  useLayoutEffect(() => onSignedIn(again), []);
  return (
    <WordsContext value={words}>
      <main className="fault">
        <h1 className="unseen">Sluiceway</h1>
        <p role="status">{{ left: words.signedOut, ended: words.signInEnded, refused: words.signInRefused, unavailable: words.signInAway }[why]}</p>
        <button type="button" className="button primary" onClick={again}>
          {words.signInAgain}
        </button>
        {why === "ended" && (
          // Also where one need not be signed in.
          <button type="button" className="quiet" onClick={() => void signOut().catch(() => {})}>
            {words.signOut}
          </button>
        )}
      </main>
      {asksForToken && <TokenDialog />}
    </WordsContext>
  );
}
