// What is read aloud by a screen reader, and stands nowhere to be seen: polite, so that nothing is cut off by it.

import { useSyncExternalStore } from "react";

// It has been taken up by then. Who walks through the page does not come upon it a second time.
const KEPT_MS = 4_000;

let text = "";
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();

function set(said: string): void {
  text = said;
  for (const listener of listeners) listener();
}

/** Where the same was said just now a blank tells the two apart: a reader hears changes alone. */
export function announce(said: string): void {
  clearTimeout(timer);
  set(said === text ? `${said}\u00a0` : said);
  timer = setTimeout(() => set(""), KEPT_MS);
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useAnnounced = (): string => useSyncExternalStore(subscribe, () => text);
