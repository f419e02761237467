// Where the server wants to know who asks: to the identity provider, and back to the same place; where there is none, a
// token is asked for (tokens.ts).

import { askForToken } from "./tokens.ts";

const TRIED = "sluiceway-sign-in";
// Somebody who comes back and is refused again is not sent around in circles.
const PAUSE_MS = 30_000;

/** A person wants it now. */
export function forgetTry(): void {
  sessionStorage.removeItem(TRIED);
}

/** Leaves the page, where the server knows a place to sign in at. Callers show what was refused meanwhile. */
export async function signIn(): Promise<void> {
  // Several requests are refused at once, and one goes.
  if (leaving) return;
  leaving = true;
  leaving = await leave();
}

let leaving = false;

/** Whether the page is being left. */
async function leave(): Promise<boolean> {
  const last = Number(sessionStorage.getItem(TRIED) ?? 0);
  if (Date.now() - last < PAUSE_MS) return false;
  const response = await fetch("/config").catch(() => null);
  const config = response?.ok ? ((await response.json()) as { auth?: string; sign_in_url?: string | null }) : null;
  if (config?.auth === "jwt" && !config.sign_in_url) askForToken(true);
  if (!config?.sign_in_url) return false;
  sessionStorage.setItem(TRIED, String(Date.now()));
  const place = location.pathname + location.search + location.hash;
  location.assign(`${config.sign_in_url}?return_to=${encodeURIComponent(place)}`);
  return true;
}
