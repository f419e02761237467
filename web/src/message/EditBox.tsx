import { useLayoutEffect, useRef, useState } from "react";
import { isComposing } from "../composer/keys.ts";
import { useWords } from "../words/words.ts";

interface Props {
  text: string;
  onSend: (text: string) => void;
  onCancel: () => void;
}

export function EditBox({ text, onSend, onCancel }: Props) {
  const words = useWords();
  const [draft, setDraft] = useState(text);
  const box = useRef<HTMLTextAreaElement>(null);
  // At once: what is typed behind the click is for this box.
  useLayoutEffect(() => {
    const { current } = box;
    current?.focus();
    current?.setSelectionRange(current.value.length, current.value.length);
  }, []);
  const send = () => (draft.trim() && draft.trim() !== text.trim() ? onSend(draft.trim()) : onCancel());
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
        rows={Math.min(12, draft.split("\n").length + 1)}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (isComposing(event.nativeEvent)) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            onCancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div className="buttons">
        <button type="button" className="button" onClick={onCancel}>
          {words.cancel}
        </button>
        <button type="submit" className="button primary">
          {words.resend}
        </button>
      </div>
    </form>
  );
}
