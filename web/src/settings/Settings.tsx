import { useState } from "react";
import { Problem } from "../client/problem.ts";
import { signOut } from "../client/signOut.ts";
import { signedIn } from "../client/person.ts";
import { askForToken } from "../client/signIn.ts";
import type { ServiceConfig } from "../client/api.ts";
import { useConfig } from "../client/useConfig.ts";
import { BusyButton } from "../ui/BusyButton.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { LANGUAGES, sentenceOf, useWords, type Said, type Words } from "../words/words.ts";
import { Instructions } from "./Instructions.tsx";
import { Understanding } from "./Understanding.tsx";
import type { Preferences, Theme } from "./preferences.ts";

interface Props {
  preferences: Preferences;
  onChange: (changed: Partial<Preferences>) => void;
  onExport: (() => Promise<void>) | null;
  onArchive: () => void;
  onClose: () => void;
}

export function Settings({ preferences, onChange, onExport, onArchive, onClose }: Props) {
  const words = useWords();
  const config = useConfig();
  const [blocked, setBlocked] = useState(false);
  const themes: [Theme, string][] = [["system", words.themeSystem], ["light", words.themeLight], ["dark", words.themeDark]];
  async function notify(wanted: boolean): Promise<void> {
    const allowed = wanted && "Notification" in window && (await Notification.requestPermission()) === "granted";
    setBlocked(wanted && !allowed);
    onChange({ notify: allowed });
  }
  return (
    <Dialog title={words.settings} onClose={onClose}>
      <label>
        {words.theme}
        <select value={preferences.theme} onChange={(event) => onChange({ theme: event.target.value as Theme })}>
          {themes.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        {words.languageName}
        <select value={preferences.language} onChange={(event) => onChange({ language: event.target.value })}>
          {[...LANGUAGES].map(([code, language]) => (
            <option key={code} value={code} lang={code}>
              {language}
            </option>
          ))}
        </select>
      </label>
      <label className="check">
        <input type="checkbox" checked={preferences.notify} onChange={(event) => void notify(event.target.checked)} />
        {words.notify}
      </label>
      {blocked && <p className="notice failure">{words.notifyBlocked}</p>}
      <Instructions />
      <Understanding />
      <button type="button" className="button" onClick={onArchive}>
        {words.archivedChats}
      </button>
      {config && <SigningIn config={config} onLeave={onClose} />}
      {onExport && (
        <BusyButton className="button" onClick={onExport}>
          {words.exportChat}
        </BusyButton>
      )}
    </Dialog>
  );
}

/** Out; or in, where a person may be nobody in particular and has a token. */
function SigningIn({ config, onLeave }: { config: ServiceConfig; onLeave: () => void }) {
  const words = useWords();
  const [why, setWhy] = useState<Said | null>(null);
  const user = signedIn();
  const byToken = config.auth === "jwt" && !config.sign_in_url;
  if (!config.sign_in_url && !byToken) return null;
  if (byToken && user === null)
    return (
      <button
        type="button"
        className="button"
        onClick={() => {
          onLeave();
          askForToken(true);
        }}
      >
        {words.signInAgain}
      </button>
    );
  async function leave(): Promise<void> {
    setWhy(null);
    try {
      await signOut();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setWhy(() => (words: Words) => words.notSignedOut(sentenceOf(error)(words)));
    }
  }
  return (
    <>
      <BusyButton className="button" onClick={leave}>
        {words.signOut}
        {byToken && user !== null && <bdi> ({user})</bdi>}
      </BusyButton>
      {why && (
        <p className="notice failure" role="alert">
          {why(words)}
        </p>
      )}
    </>
  );
}
