import { lazy, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App.tsx";
import { SignedOut } from "./app/SignedOut.tsx";
import { whenUnknown } from "./client/problem.ts";
import { signIn } from "./client/signIn.ts";
import { isSignedOut } from "./client/signOut.ts";
import { Guard } from "./app/Guard.tsx";
import { talking } from "./conversation/talking.ts";
import { keepTyped } from "./composer/typedBefore.ts";
import { applyPreferences, readPreferences } from "./settings/preferences.ts";
import { tokenIn } from "./share/addresses.ts";
import { fetchWords } from "./words/words.ts";
import "./style/style.css";

// Who reads what another has shared is perhaps nobody here.
const Shared = lazy(async () => ({ default: (await talking()).Shared }));
const token = tokenIn(location.hash);
addEventListener("hashchange", () => {
  if (tokenIn(location.hash) !== token) location.reload();
});

whenUnknown(() => void signIn());

// On its way before anything is drawn. Where it does not come, the conversation asks again and says so.
if (!isSignedOut()) talking().catch(() => {});

const preferences = readPreferences();
void fetchWords(preferences.language).then(() => {
  applyPreferences(preferences);
  keepTyped();
  createRoot(document.getElementById("root")!).render(
    <Guard>
      {token === null ? (
        isSignedOut() ? <SignedOut /> : <App />
      ) : (
        <Suspense>
          <Shared token={token} />
        </Suspense>
      )}
    </Guard>,
  );
});
