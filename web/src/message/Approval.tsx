import { useState } from "react";
import { Problem } from "../client/problem.ts";
import { useConversation } from "../conversation/context.ts";
import { sentenceOf, useWords, type Said } from "../words/words.ts";

interface Props {
  messageId: string;
  callId: string;
  title: string;
  /** The buttons are about to go, and the focus would go with them. */
  keepFocus: () => void;
}

const NOT_WANTED: Record<number, Said> = {
  404: (words) => words.nobodyAsks,
  409: (words) => words.answeredBefore,
  410: (words) => words.tooLate,
};

/** Asks a person whether a tool may run. */
export function Approval({ messageId, callId, title, keepFocus }: Props) {
  const words = useWords();
  const conversation = useConversation();
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);

  async function answer(approved: boolean): Promise<void> {
    setBusy(true);
    setSaid(() => (w: typeof words) => w.sendingAnswer);
    keepFocus();
    try {
      await conversation.decide(messageId, callId, approved, reason.trim(), (why) => setSaid(() => (w: typeof words) => w.waits(why(w))));
    } catch (error) {
      if (!(error instanceof Problem)) return;
      const sentence = NOT_WANTED[error.status] ?? sentenceOf(error);
      setBusy(false);
      setSaid(() => sentence);
      conversation.tell(sentence);
    }
  }

  return (
    <div className="approval" role="group" aria-label={words.approvalOf(title)}>
      <p>{words.runsOnlyIf}</p>
      <input type="text" maxLength={500} aria-label={words.reason} placeholder={words.reasonHint} value={reason} disabled={busy} dir="auto" onChange={(event) => setReason(event.target.value)} />
      <div className="buttons">
        <button type="button" className="button primary" disabled={busy} onClick={() => void answer(true)}>
          {words.approve}
        </button>
        <button type="button" className="button" disabled={busy} onClick={() => void answer(false)}>
          {words.deny}
        </button>
      </div>
      {said && <p className="notice">{said(words)}</p>}
    </div>
  );
}
