import { useEffect, useState } from "react";
import { useWords } from "../words/words.ts";
import { announce } from "./announced.ts";
import { Icon } from "./Icon.tsx";

const SHOWN_MS = 1_600;

/** Copies, also where the page is not served from a secure context. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
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
