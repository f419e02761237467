// Tells somebody who looks elsewhere that an answer is done: in the tab's title and icon, and in a notification if that
// is wanted. It is taken back when the page is looked at.

import { useCallback, useEffect, useLayoutEffect, useState } from "react";
import type { Words } from "../words/words.ts";

const ICON = "/static/icon.svg";
const ICON_DONE = "/static/icon-done.svg";

/** What is called with the name of another conversation, whose answer it is; without: of the one that is shown. */
export function useDone(title: string | null, notify: boolean, words: Words): (other?: string) => void {
  const [done, setDone] = useState(false);
  useLayoutEffect(() => {
    const look = () => document.visibilityState === "visible" && setDone(false);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  useEffect(() => {
    const name = title ? `${title} – Sluiceway` : "Sluiceway";
    document.title = done ? `● ${name}` : name;
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    const wanted = done ? ICON_DONE : ICON;
    if (icon && !icon.href.endsWith(wanted)) icon.href = wanted;
  }, [done, title]);
  return useCallback(
    (other?: string) => {
      if (document.visibilityState === "visible") return;
      setDone(true);
      if (notify) tell(words.answerDone, other ?? title ?? "");
    },
    [notify, title, words],
  );
}

function tell(what: string, name: string): void {
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  try {
    // Several tabs hear of one answer: with the same tag there is one notification.
    const told = new Notification(what, { body: name, icon: ICON, tag: `sluiceway ${name}` });
    told.onclick = () => window.focus();
  } catch {
    // Browsers of phones have the name, and let a service worker alone do it. The title tells all the same.
  }
}
