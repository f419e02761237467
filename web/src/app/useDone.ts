// Tells somebody who looks elsewhere that an answer is done: in the tab's title and icon, and in a notification if that
// is wanted. It is taken back when the page is looked at.

import { useCallback, useEffect, useState } from "react";
import type { Words } from "../words/words.ts";

const ICON = "/static/icon.svg";
const ICON_DONE = "/static/icon-done.svg";

export function useDone(title: string | null, notify: boolean, words: Words): () => void {
  const [done, setDone] = useState(false);
  useEffect(() => {
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
  return useCallback(() => {
    if (document.visibilityState === "visible") return;
    setDone(true);
    if (notify && "Notification" in window && Notification.permission === "granted") new Notification(words.answerDone, { body: title ?? "", icon: ICON });
  }, [notify, title, words]);
}
