import { useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { useWords } from "../words/words.ts";

/** A dialog of the browser's own: it keeps the focus, and gives it back. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const words = useWords();
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose} onClick={(event) => event.target === dialog.current && dialog.current.close()}>
      <div className="dialog">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            {words.close}
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
