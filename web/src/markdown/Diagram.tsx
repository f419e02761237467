import { useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { useWords } from "../words/words.ts";
import { drawn, isDark, onAppearance } from "./diagrams.ts";

/** The picture of a diagram that is complete, above its source; of one that cannot be drawn, its source. */
export function Diagram({ code, source }: { code: string; source: ReactNode }) {
  const words = useWords();
  const dark = useSyncExternalStore(onAppearance, isDark);
  const [picture, setPicture] = useState<string | null>(null);
  useEffect(() => {
    let left = false;
    void drawn(code, dark).then((address) => {
      if (!left) setPicture(address);
    });
    return () => {
      left = true;
    };
  }, [code, dark]);
  if (picture === null) return source;
  return (
    <>
      <div className="diagram" role="group" aria-label={words.diagram} tabIndex={0}>
        <img src={picture} alt={words.diagram} />
      </div>
      <details>
        <summary>{words.source}</summary>
        {source}
      </details>
    </>
  );
}
