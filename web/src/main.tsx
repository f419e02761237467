import { lazy, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App.tsx";
import type { Why } from "./app/SignedOut.tsx";
import { persist } from "./client/api.ts";
import { isSignedIn, signedIn } from "./client/person.ts";
import { whenUnknown } from "./client/problem.ts";
import { comeBack, failureIn, signInRefused } from "./client/signIn.ts";
import { isSignedOut } from "./client/signOut.ts";
import { Guard } from "./app/Guard.tsx";
import { talking } from "./conversation/talking.ts";
import { keepTyped, leaveTyped } from "./composer/typedBefore.ts";
import { applyPreferences, readPreferences } from "./settings/preferences.ts";
import { tokenIn } from "./share/addresses.ts";
import { fetchWords, wordsIn } from "./words/words.ts";
import "./style/style.css";

// The page speaks English then, until its words come.
const PATIENCE_MS = 5000;

// Who reads what another has shared is perhaps nobody here, and who is signed out has nothing to write.
const there = () => persist(talking, { onWait: () => {} });
const Shared = lazy(async () => ({ default: (await there()).Shared }));
const SignedOut = lazy(async () => ({ default: (await there()).SignedOut }));
const token = tokenIn(location.hash);
addEventListener("hashchange", () => {
  if (tokenIn(location.hash) !== token) location.reload();
});

whenUnknown(() => void signInRefused());

// On its way before anything is drawn. Where it does not come, the conversation asks again and says so.
talking().catch(() => {});

/** Why the page is not shown; null: it is. Before anything that is kept here is shown, it has to be clear whose it is. */
async function whyNot(): Promise<Why | null> {
  if (token !== null) return null;
  if (isSignedOut()) return "left";
  const failure = failureIn(location.hash);
  if (failure === null) return signedIn() === null || (await isSignedIn()) !== false ? null : "ended";
  // Of two tabs that have gone to sign in at once one is let in.
  if (!(await isSignedIn())) return failure;
  comeBack();
  return null;
}

const preferences = readPreferences();
const words = fetchWords(preferences.language).catch(() => {});
const patience = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS));
void Promise.all([whyNot(), Promise.race([words, patience])]).then(([why]) => {
  applyPreferences(preferences);
  if (why === null) keepTyped();
  else leaveTyped();
  createRoot(document.getElementById("root")!).render(
    <Guard>
      {token === null && why === null ? (
        <App />
      ) : (
        <Suspense fallback={<main className="fault">{wordsIn(preferences.language).loading}</main>}>{token === null ? <SignedOut why={why!} /> : <Shared token={token} />}</Suspense>
      )}
    </Guard>,
  );
  if (why === "ended") void signInRefused();
});
