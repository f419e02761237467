// A long text that is there at once is shown in steps, a frame each, so that the page never stands still for it.

import { useEffect, useReducer, useRef } from "react";

// Characters; a step takes a few milliseconds to split and to render.
const AT_ONCE = 24_000;
const STEP = 6_000;

/** As much of the text as is to be shown now; soon it is all of it. */
export function useGradual(text: string): string {
  const [, again] = useReducer((count: number) => count + 1, 0);
  const shown = useRef(AT_ONCE - STEP);
  const length = Math.min(text.length, shown.current + STEP);
  useEffect(() => {
    shown.current = Math.max(length, AT_ONCE - STEP);
    if (length === text.length) return;
    const frame = requestAnimationFrame(again);
    return () => cancelAnimationFrame(frame);
  }, [length, text]);
  return length === text.length ? text : text.slice(0, length);
}
