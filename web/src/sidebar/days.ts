// Days as they are where the person is: some have 23 hours, some 25.

import { useSyncExternalStore } from "react";
import { serverNow } from "../client/serverClock.ts";

const PERIOD_MS = 60_000;

/** When the day began that was so many days ago. */
export function dayBegan(daysAgo: number): number {
  const now = new Date(serverNow());
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo).getTime();
}

// Looked at again and again: a timer for midnight is wrong after a sleep, a journey and a clock that was set.
function onMinutes(look: () => void): () => void {
  const timer = setInterval(look, PERIOD_MS);
  return () => clearInterval(timer);
}

/** What is shown by days is shown anew with each of them, also where nothing else happens. */
export const useToday = (): number => useSyncExternalStore(onMinutes, () => dayBegan(0));
