import { useEffect, useSyncExternalStore } from "react";
import { pageIsOld } from "../client/program.ts";
import { useWords } from "../words/words.ts";
import { announce } from "./announced.ts";

/** Said once something was missed by it. When the page is renewed is the person's choice: files that are chosen, and what is being
 * read, would be gone. */
export function OldPage() {
  const words = useWords();
  const isOld = useSyncExternalStore(pageIsOld.subscribe, pageIsOld.snapshot);
  useEffect(() => {
    if (isOld) announce(words.pageIsOld);
  }, [isOld]);
  if (!isOld) return null;
  return (
    <p className="kept" role="note">
      {words.pageIsOld}{" "}
      <button type="button" className="quiet" onClick={() => location.reload()}>
        {words.reload}
      </button>
    </p>
  );
}
