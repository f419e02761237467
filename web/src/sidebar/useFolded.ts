import { useCallback, useLayoutEffect, useState } from "react";
import { recall, remember } from "../storage.ts";

const STORED = "sluiceway.folded";
// As in media.css: from there on the list stands beside the conversation, and not over it.
const WIDE = matchMedia("(min-width: 46.01rem)");

/** Whether a person has put the list of conversations away on a wide page, where it would stand beside them for good. */
export function useFolded(): { isWide: boolean; folded: boolean; fold: (folded: boolean) => void } {
  const [isWide, setWide] = useState(WIDE.matches);
  const [folded, setFolded] = useState(() => recall(STORED, false));
  useLayoutEffect(() => {
    const look = () => setWide(WIDE.matches);
    WIDE.addEventListener("change", look);
    return () => WIDE.removeEventListener("change", look);
  }, []);
  const fold = useCallback((wanted: boolean) => {
    setFolded(wanted);
    remember(STORED, wanted);
  }, []);
  return { isWide, folded: folded && isWide, fold };
}
