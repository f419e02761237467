// A link by which others may read a conversation as it stands: made, moved on, revoked.

import { useEffect, useState } from "react";
import { readShare, revokeShare, shareSession, type Session, type Share } from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import { BusyButton } from "../ui/BusyButton.tsx";
import { CopyButton } from "../ui/CopyButton.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { takesOver } from "../ui/focused.ts";
import { Loading } from "../ui/Loading.tsx";
import { locale, sentenceOf, useWords, type Said } from "../words/words.ts";

const saidOf = (error: Problem): Said => (error.code === "MESSAGE_NOT_FOUND" ? (words) => words.nothingToShare : sentenceOf(error));

export function ShareDialog({ session, onClose }: { session: Session; onClose: () => void }) {
  const words = useWords();
  // Undefined: not known yet. Null: there is none.
  const [share, setShare] = useState<Share | null | undefined>(undefined);
  const [problem, setProblem] = useState<Said | null>(null);

  const ask = async (action: () => Promise<Share | void>) => {
    setProblem(null);
    try {
      setShare((await action()) ?? null);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "SHARE_NOT_FOUND") setShare(null);
      else setProblem(() => saidOf(error));
    }
  };
  useEffect(() => void ask(() => readShare(session.id)), [session.id]);
  const url = share ? new URL(share.path, location.href).href : "";
  return (
    <Dialog title={words.share} onClose={onClose}>
      <p>{words.whatIsShared}</p>
      {problem && (
        <p role="alert" className="notice failure">
          {problem(words)}
        </p>
      )}
      {share === undefined && !problem && <Loading />}
      {share === null && (
        <BusyButton ref={takesOver} className="button primary" onClick={() => ask(() => shareSession(session.id))}>
          {words.makeLink}
        </BusyButton>
      )}
      {share && (
        <>
          <div className="link">
            <input ref={takesOver} type="text" readOnly dir="ltr" aria-label={words.link} value={url} onFocus={(event) => event.target.select()} />
            <CopyButton label={words.copyLink} text={() => url} />
          </div>
          <p className="soft">{words.sharedAsOf(new Date(share.shared_at).toLocaleString(locale()))}</p>
          <div className="buttons">
            <BusyButton className="button" onClick={() => ask(() => shareSession(session.id))}>
              {words.shareNewest}
            </BusyButton>
            <BusyButton className="button" onClick={() => ask(() => revokeShare(session.id))}>
              {words.unshare}
            </BusyButton>
          </div>
        </>
      )}
    </Dialog>
  );
}
