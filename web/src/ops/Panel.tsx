import { useLayoutEffect, useRef, type ReactNode } from "react";
import { placeOf } from "./place.ts";

/** What was asked for more about. It has the focus when it comes, Escape closes it, and what it was asked for by has the focus
 * again then. */
export function Panel({ name, onClose, children }: { name: string; onClose: () => void; children: ReactNode }) {
  const panel = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const own = panel.current!;
    const back = placeOf(document.activeElement);
    own.focus();
    return () => {
      if (own.contains(document.activeElement)) back();
    };
  }, []);
  return (
    <section ref={panel} className="ops-explained" aria-label={name} tabIndex={-1} onKeyDown={(event) => event.key === "Escape" && onClose()}>
      {children}
      <button type="button" className="button" onClick={onClose}>
        Close
      </button>
    </section>
  );
}
