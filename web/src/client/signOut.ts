// Out of the service, and out of this browser, in all its tabs: what it has kept of a person's words goes, too.

import { forgetAll, onChanged, recall, remember } from "../storage.ts";
import { Problem, problemOf } from "./problem.ts";

const SIGNED_OUT = "sluiceway.signed-out";

/** Leaves the page for one that says so: the identity provider, asked at once, would sign the same person in again. Throws
 * a Problem: he is signed in still. */
export async function signOut(): Promise<void> {
  const response = await fetch("/api/auth/session", { method: "DELETE" }).catch(() => null);
  if (!response) throw new Problem("", { code: "UNREACHABLE" });
  if (!response.ok) throw await problemOf(response);
  forgetAll();
  remember(SIGNED_OUT, true);
  location.assign("/");
}

export const isSignedOut = (): boolean => recall(SIGNED_OUT, false);

/** In another tab. */
export const onSignedOut = (heard: () => void): void => onChanged(SIGNED_OUT, () => isSignedOut() && heard());

/** A person wants to be signed in. */
export const endSignedOut = (): void => localStorage.removeItem(SIGNED_OUT);
