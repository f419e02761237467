// Out of the service, and out of this browser: what it has kept of a person's words goes, too.

import { forgetTry } from "./signIn.ts";

const SIGNED_OUT = "sluiceway-signed-out";
const KEPT_BY_THE_PAGE = /^sluiceway/;
// How the page looks is nobody's secret.
const LEFT = "sluiceway.preferences";

/** Leaves the page for one that says so: the identity provider, asked at once, would sign the same person in again. */
export async function signOut(): Promise<void> {
  await fetch("/api/auth/session", { method: "DELETE" });
  for (const key of Object.keys(localStorage)) if (KEPT_BY_THE_PAGE.test(key) && key !== LEFT) localStorage.removeItem(key);
  sessionStorage.setItem(SIGNED_OUT, "1");
  location.assign("/");
}

export const isSignedOut = (): boolean => sessionStorage.getItem(SIGNED_OUT) !== null;

export function signInAgain(): void {
  sessionStorage.removeItem(SIGNED_OUT);
  forgetTry();
  location.reload();
}
