import { useState, type KeyboardEvent } from "react";
import { Problem } from "../client/problem.ts";
import { isComposing } from "../composer/keys.ts";
import { useConversation } from "../conversation/context.ts";
import { sentenceOf, useWords, type Said } from "../words/words.ts";
import type { Elicitation } from "./parts.ts";

interface Props {
  messageId: string;
  callId: string;
  title: string;
  elicitation?: Elicitation;
  /** The buttons are about to go, and the focus would go with them. */
  keepFocus: () => void;
}

const NOT_WANTED: Record<number, Said> = {
  404: (words) => words.nobodyAsks,
  409: (words) => words.answeredBefore,
  410: (words) => words.tooLate,
};

/** Asks a person whether a tool may run, or what it asks while it runs. */
export function Approval({ messageId, callId, title, elicitation, keepFocus }: Props) {
  const words = useWords();
  const conversation = useConversation();
  const field = elicitation?.field;
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);

  async function answer(approved: boolean): Promise<void> {
    setBusy(true);
    setSaid(() => (w: typeof words) => w.sendingAnswer);
    keepFocus();
    try {
      await conversation.verdicts.decide(messageId, callId, approved, reason.trim(), (why) => setSaid(() => (w: typeof words) => w.waits(why(w))));
    } catch (error) {
      if (!(error instanceof Problem)) return;
      const sentence = NOT_WANTED[error.status] ?? sentenceOf(error);
      setBusy(false);
      setSaid(() => sentence);
      conversation.tell(sentence);
    }
  }

  /** What is asked for is given with it. A reason alone is no yes. */
  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== "Enter" || isComposing(event.nativeEvent) || !field || reason.trim() === "") return;
    event.preventDefault();
    void answer(true);
  }

  return (
    <div className="approval" role="group" aria-label={words.approvalOf(title)}>
      {elicitation ? <Asked elicitation={elicitation} /> : <p>{words.runsOnlyIf}</p>}
      {field && field.options.length > 0 ? (
        <select aria-label={field.title} value={reason} disabled={busy} onChange={(event) => setReason(event.target.value)}>
          <option value="">{field.title}</option>
          {field.options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </select>
      ) : (
        (!elicitation || field) && <input type="text" maxLength={500} aria-label={field?.title ?? words.reason} placeholder={field?.title ?? words.reasonHint} value={reason} disabled={busy} dir="auto" onChange={(event) => setReason(event.target.value)} onKeyDown={onKeyDown} />
      )}
      <div className="buttons">
        <button type="button" className="button primary" disabled={busy || (field && reason.trim() === "")} onClick={() => void answer(true)}>
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

/** In the words of whoever asks, so that it cannot be taken for ours. */
function Asked({ elicitation: { source, message, content, url, problem } }: { elicitation: Elicitation }) {
  const words = useWords();
  return (
    <>
      <p className="soft">{words.asks(source)}</p>
      {problem && <p className="notice failure" dir="auto">{problem}</p>}
      <blockquote dir="auto">{message}</blockquote>
      {url && (
        <p>
          <a href={url} target="_blank" rel="noopener noreferrer nofollow">
            {url}
          </a>
        </p>
      )}
      {content.length > 0 && (
        <dl className="plain">
          {content.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd dir="auto">{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}
