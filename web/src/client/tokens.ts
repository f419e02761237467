// Signing in with a token, where no identity provider is set up.
//
// Guarantees: the token is kept nowhere in the browser. The server exchanges it for a cookie that scripts cannot read, which
// holds for as long as the token; what is kept is until when that is.

import { recall, remember } from "../storage.ts";

const STORED = "sluiceway.signed-in";
const listeners = new Set<() => void>();
let wanted = false;

export type Refusal = "refused" | "not-kept" | "unreachable";

/** Whether a person is asked for a token. */
export const tokenWanted = {
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  snapshot: (): boolean => wanted,
};

export function askForToken(asked: boolean): void {
  wanted = asked;
  for (const listener of listeners) listener();
}

/** Who signed in with a token in this browser, and is still; null: nobody. */
export function signedIn(): string | null {
  const { user, until } = recall<{ user?: string; until?: number }>(STORED, {});
  return user !== undefined && (until ?? 0) > Date.now() ? user : null;
}

/** Null: the cookie is there. */
export async function signInWith(pasted: string): Promise<Refusal | null> {
  const token = pasted.trim().replace(/^bearer\s+/i, "");
  // What no header can carry is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) return "refused";
  try {
    const response = await fetch("/api/auth/session", { method: "POST", headers: { authorization: `Bearer ${token}` }, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return "refused";
    if (!response.ok) return "unreachable";
    const { user_id, expires_at } = (await response.json()) as { user_id: string; expires_at: string | null };
    // A browser keeps no cookie that is for https alone where the page came without it.
    const known = await fetch("/api/chat/sessions?limit=1", { cache: "no-store" });
    if (known.status === 401) return "not-kept";
    remember(STORED, { user: user_id, until: expires_at ? new Date(expires_at).getTime() : Date.now() });
    return null;
  } catch {
    return "unreachable";
  }
}
