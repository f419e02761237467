import { useLayoutEffect, useRef, useState } from "react";
import { isComposing } from "../composer/keys.ts";
import { recall, remember } from "../storage.ts";
import { useWords } from "../words/words.ts";

const STORED = "sluiceway.edits";
const kept = () => recall<Record<string, string>>(STORED, {});

/** What has been written in place of a message and is not sent: it outlives that somebody looks elsewhere. Null: nothing. */
function keep(id: string, text: string | null): void {
  const { [id]: before, ...others } = kept();
  if (before !== undefined || text !== null) remember(STORED, text === null ? others : { ...others, [id]: text });
}

interface Props {
  id: string;
  text: string;
  /** No turn runs: it can be sent. */
  idle: boolean;
  /** Resolves when it is on its way, or could not be sent: whether it is. */
  onSend: (text: string) => Promise<boolean>;
  onCancel: () => void;
}

export function EditBox({ id, text, idle, onSend, onCancel }: Props) {
  const words = useWords();
  const [draft, setDraft] = useState(() => kept()[id] ?? text);
  const box = useRef<HTMLTextAreaElement>(null);
  // At once: what is typed behind the click is for this box.
  useLayoutEffect(() => {
    const { current } = box;
    current?.focus();
    current?.setSelectionRange(current.value.length, current.value.length);
  }, []);
  const [sending, setSending] = useState(false);
  const cancel = () => {
    keep(id, null);
    onCancel();
  };
  const send = () => {
    if (sending) return;
    if (!draft.trim() || draft.trim() === text.trim()) return cancel();
    if (!idle) return;
    setSending(true);
    void onSend(draft.trim())
      .then((isSent) => isSent && keep(id, null))
      .finally(() => setSending(false));
  };
  return (
    <form
      className="edit"
      aria-label={words.editMessage}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={box}
        dir="auto"
        aria-label={words.editMessage}
        value={draft}
        readOnly={sending}
        rows={Math.min(12, draft.split("\n").length + 1)}
        onChange={(event) => {
          setDraft(event.target.value);
          keep(id, event.target.value);
        }}
        onKeyDown={(event) => {
          if (isComposing(event.nativeEvent)) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            if (!sending) cancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div className="buttons">
        <button type="button" className="button" disabled={sending} onClick={cancel}>
          {words.cancel}
        </button>
        <button type="submit" className="button primary" disabled={!idle || sending}>
          {words.resend}
        </button>
      </div>
    </form>
  );
}
