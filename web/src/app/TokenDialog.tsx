// Signing in with a token that a person has been given.

import { useLayoutEffect, useRef, useState } from "react";
import { askForToken } from "../client/signIn.ts";
import { signInWith, type Refusal } from "../client/tokens.ts";
import { Dialog } from "../ui/Dialog.tsx";
import { useWords } from "../words/words.ts";

export function TokenDialog() {
  const words = useWords();
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const box = useRef<HTMLInputElement>(null);
  // After the dialog is open: what is focused before that is not.
  useLayoutEffect(() => box.current?.focus(), []);
  async function send(event: React.FormEvent): Promise<void> {
    event.preventDefault();
    if (busy || !token.trim()) return;
    setBusy(true);
    // Told once more, also where it is the same again.
    setRefusal(null);
    const why = await signInWith(token);
    // What was refused before is asked for again; what was written is a draft, and stays.
    if (why === null) return location.reload();
    setBusy(false);
    setRefusal(why);
  }
  const said = refusal && { refused: words.tokenRefused, "not-kept": words.cookieNotKept, unreachable: words.unreachable }[refusal];
  return (
    <Dialog title={words.signInAgain} onClose={() => askForToken(false)}>
      <form className="token" onSubmit={(event) => void send(event)}>
        <p>{words.tokenHint}</p>
        <label>
          {words.token}
          {/* A field of a password is not shown to who looks over a shoulder, and not spell-checked elsewhere. */}
          <input ref={box} type="password" autoComplete="off" dir="ltr" value={token} aria-invalid={refusal === "refused" || undefined} onChange={(event) => setToken(event.target.value)} />
        </label>
        {said && (
          <p className="notice failure" role="alert">
            {said}
          </p>
        )}
        <button type="submit" className="button primary" aria-disabled={busy || undefined}>
          {words.signInAgain}
        </button>
      </form>
    </Dialog>
  );
}
