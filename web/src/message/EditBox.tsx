import { useLayoutEffect, useRef, useState } from "react";
import { isComposing } from "../composer/keys.ts";
import { useWords } from "../words/words.ts";

interface Props {
  text: string;
  /** No turn runs: it can be sent. */
  idle: boolean;
  /** Resolves when it is on its way, or could not be sent. */
  onSend: (text: string) => Promise<void>;
  onCancel: () => void;
}

export function EditBox({ text, idle, onSend, onCancel }: Props) {
  const words = useWords();
  const [draft, setDraft] = useState(text);
  const box = useRef<HTMLTextAreaElement>(null);
  // At once: what is typed behind the click is for this box.
  useLayoutEffect(() => {
    const { current } = box;
    current?.focus();
    current?.setSelectionRange(current.value.length, current.value.length);
  }, []);
  const [sending, setSending] = useState(false);
  const send = () => {
    if (sending) return;
    if (!draft.trim() || draft.trim() === text.trim()) return onCancel();
    if (!idle) return;
    setSending(true);
    void onSend(draft.trim()).finally(() => setSending(false));
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
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (isComposing(event.nativeEvent)) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            if (!sending) onCancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div className="buttons">
        <button type="button" className="button" disabled={sending} onClick={onCancel}>
          {words.cancel}
        </button>
        <button type="submit" className="button primary" disabled={!idle || sending}>
          {words.resend}
        </button>
      </div>
    </form>
  );
}
