import { useLayoutEffect, useRef } from "react";
import { isComposing } from "../composer/keys.ts";

interface Keys {
  onEscape: () => void;
  onNewChat: () => void;
  onCopyLast: () => void;
  onShortcuts: () => void;
  onBox: () => void;
  onPrint: () => void;
  /** In the conversations and their messages. */
  onSearch: () => void;
  /** The list of conversations, there or put away. */
  onList: () => void;
  /** The browser's own search follows: it finds what is there. */
  onFind: () => void;
}

const isWritten = (target: EventTarget | null): boolean => target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null;

/** The keys that work everywhere on the page. An open dialog has its own. */
export function useKeys(keys: Keys): void {
  const current = useRef(keys);
  current.current = keys;
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isComposing(event) || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const control = event.ctrlKey || event.metaKey;
      const action = actionOf(event, control);
      if (!action) return;
      if (action !== "onEscape" && action !== "onFind") event.preventDefault();
      current.current[action]();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

function actionOf({ key, shiftKey, target }: KeyboardEvent, control: boolean): keyof Keys | null {
  if (key === "Escape") return "onEscape";
  if (control && key === "/") return "onShortcuts";
  if (control && !shiftKey && key.toLowerCase() === "p") return "onPrint";
  if (control && shiftKey && key.toLowerCase() === "o") return "onNewChat";
  if (control && shiftKey && (key === ";" || key === ":")) return "onCopyLast";
  if (control && !shiftKey && key.toLowerCase() === "k") return "onSearch";
  if (control && shiftKey && key.toLowerCase() === "s") return "onList";
  if (control && !shiftKey && key.toLowerCase() === "f") return "onFind";
  return key === "/" && !control && !isWritten(target) ? "onBox" : null;
}
