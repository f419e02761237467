import { useEffect, useState } from "react";
import { useWords } from "../words/words.ts";
import { announce } from "./announced.ts";
import { Icon } from "./Icon.tsx";

const SHOWN_MS = 1_600;

/** Copies, also where the page is not served from a secure context, or the browser does not let it write there. */
export async function copyText(text: string): Promise<void> {
  try {
    if (navigator.clipboard) return await navigator.clipboard.writeText(text);
  } catch {
    // It may still copy what is selected.
  }
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  // Behind an open dialog nothing can be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
}

export function CopyButton({ label, text }: { label: string; text: () => string }) {
  const words = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button type="button" className="icon" title={label} aria-label={copied ? words.copied : label} onClick={() => void copyText(text()).then(() => (setCopied(true), announce(words.copied)))}>
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
