// A history that is there at once is drawn from its end on: what is in sight first, and what stands before it in short steps.

import { useEffect, useReducer, useRef } from "react";

// Messages, of which short ones fill a high window.
const AT_FIRST = 16;
const STEP = 4;
const PAUSE_MS = 20;

/** How many of the first messages are not drawn yet; soon it is none, and stays so. */
export function useLatestFirst(count: number): number {
  const [, again] = useReducer((times: number) => times + 1, 0);
  const left = useRef<number | null>(null);
  if (count > 0) left.current ??= Math.max(0, count - AT_FIRST);
  const undrawn = left.current ?? 0;
  useEffect(() => {
    if (undrawn === 0) return;
    const timer = setTimeout(() => {
      left.current = Math.max(0, undrawn - STEP);
      again();
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [undrawn]);
  return undrawn;
}
