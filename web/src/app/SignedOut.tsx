import { signInAgain } from "../client/signOut.ts";
import { readPreferences } from "../settings/preferences.ts";
import { wordsIn } from "../words/words.ts";

export function SignedOut() {
  const words = wordsIn(readPreferences().language);
  return (
    <main className="fault">
      <h1 className="unseen">Sluiceway</h1>
      <p role="status">{words.signedOut}</p>
      <button type="button" className="button primary" onClick={signInAgain}>
        {words.signInAgain}
      </button>
    </main>
  );
}
