// Signing in with a token, where no identity provider is set up.
//
// Guarantees: the token is kept nowhere in the browser. The server exchanges it for a cookie that scripts cannot read, which
// holds for as long as the token.

import { noteUser } from "./person.ts";

export type Refusal = "refused" | "not-kept" | "unreachable";

/** Null: the cookie is there. */
export async function signInWith(pasted: string): Promise<Refusal | null> {
  const token = pasted.trim().replace(/^bearer\s+/i, "");
  // What no header can carry is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) return "refused";
  try {
    const response = await fetch("/api/auth/session", { method: "POST", headers: { authorization: `Bearer ${token}` }, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return "refused";
    if (!response.ok) return "unreachable";
    const { user_id } = (await response.json()) as { user_id: string };
    // A browser keeps no cookie that is for https alone where the page came without it.
    const known = await fetch("/api/chat/sessions?limit=1", { cache: "no-store" });
    if (known.status === 401) return "not-kept";
    noteUser(user_id);
    return null;
  } catch {
    return "unreachable";
  }
}
