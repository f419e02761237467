// Where the server wants to know who asks: to the identity provider, and back to the same place; where there is none, a
// token is asked for (tokens.ts). Who has been at work already is not taken away from it, but told, and goes when he likes.

import { isKnown, TRIED } from "./person.ts";
import { flag } from "./flag.ts";

const PLACE = "sluiceway-sign-in-from";
// Somebody who comes back and is refused again is not sent around in circles.
const PAUSE_MS = 30_000;

/** Whether a person is told that he has to sign in. */
export const signInWanted = flag();

/** Whether he is asked for a token. */
export const tokenWanted = flag();
export const askForToken = tokenWanted.set;

let leaving = false;

/** A request was refused: the server does not know who asks. */
export async function signInRefused(): Promise<void> {
  // Several requests are refused at once, and one goes.
  if (leaving || signInWanted.snapshot()) return;
  // By the clock, which may have been set back since.
  if (isKnown() || Math.abs(Date.now() - Number(sessionStorage.getItem(TRIED) ?? 0)) < PAUSE_MS) return signInWanted.set(true);
  await signIn();
}

/** Leaves the page, where the server knows a place to sign in at. False: no server answers. */
export async function signIn(): Promise<boolean> {
  leaving = true;
  const response = await fetch("/config").catch(() => null);
  const config = response?.ok ? ((await response.json()) as { auth?: string; sign_in_url?: string | null }) : null;
  leaving = Boolean(config?.sign_in_url);
  if (config?.auth === "jwt" && !leaving) askForToken(true);
  if (!leaving) return config !== null;
  const place = location.pathname + location.search + location.hash;
  sessionStorage.setItem(TRIED, String(Date.now()));
  sessionStorage.setItem(PLACE, place);
  // Who comes back by the browser's own button has this very page again.
  addEventListener("pageshow", () => (leaving = false), { once: true });
  location.assign(`${config!.sign_in_url}?return_to=${encodeURIComponent(place)}`);
  return true;
}

export type Failure = "refused" | "unavailable";

/** The server brings people back to this address where the identity provider did not let them in, or is away. */
export const failureIn = (hash: string): Failure | null => (/^#\/sign-in\/(refused|unavailable)$/.exec(hash)?.[1] as Failure | undefined) ?? null;

/** From there, to where he was. */
export function comeBack(): void {
  if (failureIn(location.hash)) history.replaceState(null, "", sessionStorage.getItem(PLACE) ?? "/");
}

/** Once more. */
export function signInAgain(): void {
  comeBack();
  sessionStorage.removeItem(TRIED);
  location.reload();
}
