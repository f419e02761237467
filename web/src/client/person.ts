// Who is signed in, where people sign in: whose words this browser keeps.
//
// Guarantees: what one person has written here is neither shown to another who signs in with the same browser nor sent for
// him. The server is asked who he is before any of it is shown; what was another's is forgotten.

import { forgetAll, onChanged, recall, remember } from "../storage.ts";
import { newId } from "./ids.ts";

const STORED = "sluiceway.person";
// A server that says nothing keeps nobody from his page.
const PATIENCE_MS = 8_000;
/** When somebody was last sent to sign in, until he has. */
export const TRIED = "sluiceway-sign-in";

/** `since`: of which signing in it was told. */
interface Person {
  user: string;
  since: string;
}

const stored = () => recall<Person | null>(STORED, null);
let here: string | null = null;

/** Null: nobody, as far as is known. */
export const signedIn = (): string | null => stored()?.user ?? null;

/** As the server has told since the page was opened. */
export const isKnown = (): boolean => here !== null;

export function noteUser(user: string): void {
  const before = signedIn();
  if (before !== null && before !== user) forgetAll();
  here = user;
  sessionStorage.removeItem(TRIED);
  remember(STORED, { user, since: newId() });
}

/** Null: no answer came. */
export async function isSignedIn(): Promise<boolean | null> {
  const response = await fetch("/api/auth/session", { method: "POST", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
  if (response?.ok) noteUser(((await response.json()) as { user_id: string }).user_id);
  return response?.ok ? true : response?.status === 401 ? false : null;
}

/** In another tab somebody has: the same person as here, or another one. */
export function onSignedIn(heard: (isSame: boolean) => void): void {
  onChanged(STORED, () => {
    const now = signedIn();
    if (now !== null) heard(now === here);
  });
}
